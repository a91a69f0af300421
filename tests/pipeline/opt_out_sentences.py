"""Sentences of people who are called: those that ask not to be called any more, and those that only sound like it."""

ASKS_EN = """
Don't call me again.
Please do not call me anymore.
Do not call this number again.
Don't ever call me again, okay?
Never call this number again.
Never call me again.
Stop calling me.
Stop calling.
Please stop calling this number.
Stop calling me, I'm not interested.
I said stop calling me.
I told you to stop calling me.
You need to stop calling me.
Can you please stop calling me?
Could you stop calling here?
Would you please stop bothering me?
Quit calling me.
Quit calling my house.
Take me off your list.
Take me off your list, please.
Please take me off your calling list.
Can you take me off the list?
Could you please take me off of your call list?
Why don't you take me off your list?
I want you to take me off your list.
I'd like to be taken off, take my number off your list.
Remove me from your list.
Please remove my number from your database.
Remove my name from your records.
Remove us from all your lists.
Take my name off that list of yours.
Take this number off your list.
Delete my number.
Please delete my phone number from your system.
Lose my number.
Erase my number, please.
Put me on your do not call list.
Please put me on the do-not-call list.
Add me to your do not call list.
Add my number to your internal do not call list.
I'm on the do not call list.
This number is on the national do not call registry.
I don't want any more calls.
I don't want any calls from you people.
I do not want to receive any more calls.
I no longer want to receive calls.
I don't want to be called again.
I don't want to be contacted anymore.
I don't want you to call me.
I don't want you to call me again.
I do not want you calling me.
I don't wish to be contacted.
No more calls, please.
Stop these calls.
Stop the phone calls.
I want to opt out.
I'd like to opt out.
Opt me out.
Opt out.
How do I opt out?
Unsubscribe.
Unsubscribe me.
I want to unsubscribe.
Leave me alone.
Just leave us alone, will you.
I revoke my consent.
I withdraw my consent to these calls.
You don't have my permission to call.
Don't call me.
Do not call me, I'm not interested.
Please don't call here anymore.
Don't you dare call me again.
Yes hello, I'm not interested so please take me off your list.
No, no, no. Stop calling me!
Hey, listen, don't contact me again.
I asked you people not to call me again.
I told you guys not to call here anymore.
Sorry, not interested, and don't call back again.
Can you not call me again?
Stop harassing me.
Cease calling this number.
don't call me any more or I will report you
I am tired of you calling me.
Please don't phone me again.
Stop calling me every day.
Get me off this list.
Please, do not ring this house again.
I've asked you three times to stop calling.
Would you mind taking me off your list?
Get my number out of your system.
Don't you ever call here again.
I'm asking you to stop calling.
This is the third time, stop calling my mother.
Please remove me.
Take my number off.
Could I be removed from your list?
I'd like to be removed from your call list.
I would like you to stop calling me.
Never contact me again.
I don't want these calls anymore.
You people keep calling, stop it, take me off the list.
I do not consent to these calls.
Do not contact me anymore please.
I want off your list.
Strike my name from your records.
""".strip().splitlines()

SOUNDS_LIKE_IT_EN = """
Don't call me before six.
Please don't call me at work.
Don't call me today, I'm busy.
Don't call me now, I'm driving.
Don't call me until Monday.
Don't call me this early again, before nine.
Don't call me tomorrow, call me on Friday.
Don't call me Bob.
Don't call me sir.
Please don't call me ma'am, it's miss.
Don't call me, I'll call you.
Don't call me, text me instead.
Don't call me, send me an email.
Stop calling me names.
Stop calling me Robert.
Stop calling him, call me instead.
Please don't stop calling me.
Don't take me off your list.
Please do not remove me from the list.
Did you take me off your list?
Have you removed me from your list?
Why did you take me off your list?
Why did you stop calling me?
Why have you stopped calling?
You never called me again.
You can call me again.
Call me again next week.
Call me back later.
Can you call me again tomorrow?
You may call me any time.
I never said stop calling me.
I didn't say stop calling me.
I'm not asking you to stop calling.
I don't want to be taken off the list.
I don't want to opt out.
What happens if I opt out?
If I say stop calling, what happens?
When do you stop calling?
Who put me on your list?
Put me on your list.
Put me back on your list, please.
How did you get my number?
Where did you get my number from?
What is your number?
Delete my appointment.
Remove the second item from my order.
Take the onions off my order.
Take me off speaker.
Take me off hold.
Stop.
Stop it.
Stop, I didn't catch that.
Wait, stop talking for a second.
I'm not interested in that one, what else do you have?
No thanks.
No, I can't come on Monday.
I called you yesterday.
Nobody calls me any more.
My doctor doesn't call me again, can you help?
I missed your calls.
I get no calls on this phone, is it broken?
How many calls do I get with that plan?
I want to cancel my appointment.
I don't want to wait any more.
Do not disturb was on, sorry.
My phone stopped ringing.
Is this list of prices on your website?
Am I on the list?
Am I on the do not call list?
I can't opt out of that plan, can I?
Leave me a message.
Leave the parcel with my neighbour.
It's a bad time, please don't call right now.
Don't call so late.
Please don't call after nine in the evening.
Don't call my cell, call the office.
Don't call the police.
I don't want you to call my wife, it's a surprise.
I do want you to call me again.
Before you take me off the list, tell me the price.
Don't call me on Sundays.
Could you call me again in an hour?
Please don't call during lunch.
Don't hang up.
I stopped calling because nobody answered.
My name is not on the list.
Please add my wife to the list.
Remove the appointment on Monday.
I don't call that cheap.
No more than two people.
I never got a call.
Do you record calls?
I want to leave.
Leave me a voicemail.
I don't want any more coffee.
Don't contact my boss, contact me.
Did somebody call me?
Take me to the sales department.
I'm taking my car off the road.
Delete that from my cart.
""".strip().splitlines()

ASKS_ES = """
No me llamen más.
No me llame más, por favor.
No me llames más.
No me vuelvan a llamar.
No me vuelva a llamar, por favor.
No vuelvan a llamar a este número.
No vuelvan a llamarme.
No me llamen nunca más.
No me llamen, no me interesa.
Por favor, no me llamen.
No me llamen otra vez.
Ya no me llamen.
Les dije que no me llamen más.
He dicho que no me llamen más.
No llamen más.
No llamen más a este número.
No llamen a este número.
No nos llamen más.
No me molesten más.
No me molesten.
No me sigan llamando.
No sigan llamando.
Dejen de llamarme.
Deje de llamarme, por favor.
Deja de llamarme ya.
Dejad de llamar.
Dejen de llamar a este número.
Dejen de molestar.
Dejen de molestarme.
Paren de llamarme.
Déjenme en paz.
Déjeme tranquilo.
¿Me dejan en paz?
No quiero que me llamen.
No quiero que me llamen más.
No quiero que me vuelvan a llamar.
No queremos que nos llamen más.
No quiero más llamadas.
No quiero recibir más llamadas.
No quiero recibir llamadas suyas.
No quiero sus llamadas.
No deseo recibir más llamadas comerciales.
No deseo ser contactado.
No deseo que me llamen.
No me interesa recibir más llamadas.
No autorizo que me llamen.
Basta de llamadas.
Ni una llamada más.
Quítenme de la lista.
Quíteme de su lista, por favor.
Quítame de la lista.
Quitadme de vuestra lista.
Bórrenme de su lista.
Bórreme de la base de datos.
Elimínenme de su base de datos.
Sáquenme de la lista.
Sáqueme de esa lista, por favor.
Retírenme de su listado.
¿Me quita de la lista?
¿Me puede quitar de la lista?
¿Pueden borrarme de su lista?
¿Podría eliminarme de su base de datos?
Quiero que me quiten de la lista.
Quiero que me borren.
Les pido que me eliminen de su base de datos.
Denme de baja.
Deme de baja, por favor.
Quiero darme de baja.
Quiero que me den de baja.
Solicito la baja.
Borren mi número.
Borre mi teléfono, por favor.
Eliminen mis datos.
Quiten mi número de la lista.
Olvídense de mi número.
Apúntenme en la lista Robinson.
Estoy en la lista Robinson.
Estoy inscrita en la lista Robinson.
Retiro mi consentimiento.
Revoco mi consentimiento.
No tienen permiso para llamarme.
Oiga, mire, no me interesa, no me llamen más.
No, no, no, dejen de llamarme.
no me llamen mas
quitenme de la lista
No me contacten más.
No me marquen más.
Nunca más me llamen.
No me llaméis más, por favor.
No vuelvas a llamarme nunca.
Haga el favor de no llamarme más.
Hagan el favor de no volver a llamar.
Les ruego que no me llamen más.
Le agradecería que no me llamara más.
Que no me llamen más, he dicho.
Les pido que dejen de llamarme.
Quiero que dejen de llamarme.
Borradme de vuestra base de datos.
¿Cómo me doy de baja?
Me gustaría que me borraran de la lista.
Ya les dije que no quiero que me llamen.
Tache mi nombre de su lista.
Estoy harto de que me llamen, quítenme de la lista.
Por favor, bórreme.
No quiero saber nada de ustedes, no llamen más.
No me interesa, no vuelva a llamar.
Eliminad mi número de teléfono.
Basta ya de llamarme.
""".strip().splitlines()

SOUNDS_LIKE_IT_ES = """
No me llamen antes de las seis.
No me llame hoy, por favor.
No me llames ahora, estoy conduciendo.
No me llamen mañana.
No me llamen por la mañana.
No me llamen al trabajo.
No me llame al fijo, mejor al móvil.
No me llamen tan temprano.
No me llame todavía.
No me llamen hasta el lunes.
No me llamen a esta hora.
No me llamen más tarde de las nueve.
No me llames Paco.
No me llame señora Pérez, soy su hija.
No me llamo Juan.
No me llamen, ya les llamo yo.
No me llamen, escríbanme.
No dejen de llamarme.
Por favor, no dejen de llamarme el lunes.
No me quiten de la lista.
No me borren de la lista, por favor.
No quiero que me quiten de la lista.
No quiero que dejen de llamarme.
No quiero darme de baja.
¿Por qué no me llamaron?
¿Por qué no me han llamado más?
¿Por qué me han quitado de la lista?
¿Me han quitado de la lista?
¿Estoy en la lista?
Ya no me llaman.
Nunca me llaman.
Nadie me llama.
Mi médico no me llama.
Llámenme otra vez mañana.
Vuelva a llamarme más tarde.
Llámeme más tarde, por favor.
Me pueden llamar cuando quieran.
Puede volver a llamarme.
Sí, quiero que me llamen.
Quiero que me vuelvan a llamar.
No he dicho que dejen de llamar.
No digo que no me llamen más.
¿Qué pasa si me doy de baja?
¿Y si digo que no me llamen más?
Si no me llaman, voy yo.
Cuando dejen de llamar, avíseme.
¿De dónde han sacado mi número?
¿Quién les dio mi número?
¿Cuál es mi número de pedido?
Borre mi pedido.
Quite la cebolla, por favor.
Quíteme la cita del lunes.
Quiero anular mi cita.
Estoy de baja.
Mi marido está de baja esta semana.
Baje el volumen, por favor.
Espere.
Pare un momento.
No me interesa ese, ¿qué más tienen?
No, gracias.
No puedo el lunes.
No quiero esperar más.
No quiero más, gracias.
No quiero más citas este mes.
He perdido sus llamadas.
¿Cuántas llamadas incluye la tarifa?
No tengo más llamadas en el contrato.
Déjeme un mensaje.
Déjeme pensarlo.
Déjeme ver la agenda.
Deje el paquete en la portería.
Llame a mi mujer, por favor.
No llame a mi mujer, es una sorpresa.
No llame a la policía.
No me hable tan rápido.
No le oigo, hable más alto.
No se preocupe.
No me moleste ahora, estoy en una reunión.
No me vuelva a llamar antes de las diez.
¿Me puede dar el número de la lista?
Antes de quitarme de la lista, dígame el precio.
No llame al timbre, por favor.
¿Me llaman ustedes o llamo yo?
No me llega la llamada.
No quiero que me cobren más.
Borre esa cita.
Me han borrado la cita.
No me manden más facturas.
No me vuelva a cambiar la hora.
Dejen de cobrarme.
¿No me iban a llamar?
No quiero molestar.
No me llames de usted.
Quiero dar de alta mi número.
Llamen más tarde.
No hace falta que me llamen.
¿Puedo quitarme de la reserva?
Mejor no me llamen los lunes.
No me llame después de las ocho.
Me doy de alta.
La lista de precios, por favor.
""".strip().splitlines()
