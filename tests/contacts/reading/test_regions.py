"""States and provinces, as addresses name them."""

import pytest

from voice_agent.contacts.reading.regions import country_of, region_of, region_of_postal_code


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("España", "ES"), ("mx", "MX"), ("EE.UU.", "US"), ("U.S.A.", "US"), ("United States", "US"), ("México", "MX"),
        ("gb", "GB"), ("UK", "GB"), ("zz", ""), ("", ""), ("Atlantis", ""),
    ],
)  # fmt: skip
def test_countries(text: str, country: str) -> None:
    assert country_of(text) == country


@pytest.mark.parametrize(
    ("text", "country", "region"),
    [
        ("Las Palmas", "ES", "ES-CN"), ("Alicante/Alacant", "ES", "ES-VC"), ("Coruña, A", "ES", "ES-GA"),
        ("MADRID", "ES", "ES-MD"), ("Vizcaya", "ES", "ES-PV"), ("ES-CT", "ES", "ES-CT"), ("Gotham", "ES", ""),
        ("fl", "US", "US-FL"), ("US-FL", "US", "US-FL"), ("New York", "US", "US-NY"), ("Washington, DC", "US", "US-DC"),
        ("Nuevo León", "MX", "MX-NLE"), ("CDMX", "MX", "MX-CMX"), ("Florida", "MX", ""), ("Île-de-France", "FR", ""),
    ],
)  # fmt: skip
def test_regions_by_name_and_code(text: str, country: str, region: str) -> None:
    assert region_of(text, country) == region


@pytest.mark.parametrize(
    ("code", "country", "region"),
    [
        ("28001", "ES", "ES-MD"), ("35001", "ES", "ES-CN"), ("38001", "ES", "ES-CN"), ("8001", "ES", "ES-CT"),
        ("52006", "ES", "ES-ML"), ("53001", "ES", ""), ("00100", "ES", ""), ("07001", "ES", "ES-IB"),
        ("33139", "US", "US-FL"), ("10001", "US", "US-NY"), ("90210-1234", "US", "US-CA"), ("2134", "US", "US-MA"),
        ("501", "US", "US-NY"), ("09012", "US", ""), ("00100", "US", ""), ("96813", "US", "US-HI"),
        ("99501", "US", "US-AK"),
        ("06600", "MX", "MX-CMX"), ("77500", "MX", "MX-ROO"), ("83000", "MX", "MX-SON"), ("22000", "MX", "MX-BCN"),
        ("SW1A 1AA", "GB", ""), ("75001", "FR", ""), ("12", "ES", ""), ("123456", "ES", ""),
    ],
)  # fmt: skip
def test_regions_by_postal_code(code: str, country: str, region: str) -> None:
    assert region_of_postal_code(code, country) == region
