"""What every adapter of a port must do: each class is a port's contract, inherited by the tests of an adapter.

class TestEspeak(TextToSpeechContract):
    @pytest.fixture
    async def speaking(self) -> AsyncIterator[Speaking]:
        yield Speaking(EspeakTextToSpeech(...), Voice("en"))
"""
