"""The greetings of answering machines, and what people say who pick up."""

import pytest

from voice_agent.pipeline.voicemail import is_greeting


@pytest.mark.parametrize(
    "text",
    [
        "Hi, you've reached Mary. Please leave a message after the beep.",
        "Your call has been forwarded to an automatic voice message system.",
        "The person you are calling is not available right now.",
        "I can't come to the phone, leave your name and number.",
        "At the tone, please record your message.",
        "This is the voicemail of Bob Stone.",
        "The mailbox is full.",
        "We are unable to take your call.",
        "Deje su mensaje después de la señal.",
        "Ha llamado al buzón de voz de Juan.",
        "En este momento no puedo atenderle.",
        "El teléfono al que llama está apagado o fuera de cobertura.",
        "Después del tono, deje un mensaje.",
        "Le habla el contestador automático de la familia Pérez.",
        "Al oír la señal grabe su mensaje.",
    ],
)
def test_a_machine_is_told_by_its_phrases(text: str) -> None:
    assert is_greeting(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello?",
        "Yes, this is Mary.",
        "Who is calling, please?",
        "I am not free on Monday.",
        "Is the doctor available?",
        "Call me after lunch.",
        "Diga.",
        "¿Quién es?",
        "No puedo el lunes.",
        "Sí, soy yo, dígame.",
        "Déjeme ver la agenda.",
    ],
)
def test_people_are_not(text: str) -> None:
    assert not is_greeting(text)
