"""The words that free prose may use, per language: a closed list, so that no paraphrase says what no check knows.

Owns words only. What stands here claims nothing by itself: no direction, rank, order, place, cause or certainty. Words
for those are in the lexicons of the languages, where each has a check, and are left out here.
"""

from __future__ import annotations

from collections.abc import Mapping

_ENGLISH = """
a an the this that these those it its itself they them their there here which who whose what where when how each both
other others another of in on at with by for to from as into among between per and or but yet while whereas
however also too together such if not no none nor never cannot is are was were be been being has have had having can
may should do does did class classes photo photos image images picture pictures concept concepts sub-concept
sub-concepts subconcept subconcepts channel channels layer layers share shares relevance score scores logit logits
probability probabilities softmax network networks model prediction predictions explanation explanations text texts
table tables value values number numbers figure figures name names heatmap heatmaps region
regions area areas box boxes place places part parts portion portions sum sums total totals rest remainder activation
activations confidence runner-up rival alternative method propagation reference references guess guesses hypothesis
hypotheses limit limits mark marks marking shortcut units unit precision description descriptions kind kinds
group groups list lists caution care word words sentence sentences reader readers question questions carry carries
carried carrying hold holds held receive receives received give gives given gave assign assigns assigned rate rates
rated lie lies lay lying locate located listed describe describes described explain explains explained explaining
cover covers covered take takes reach reaches reached amount amounts come comes account accounts accounted summed
remain remains remained remaining named call called measure measured divide divided distribute distributed trace
traced compare compared pass passes passed spread show shown omit omitted include includes included say says said tell
tells told read refer refers treat treated absolute signed overall further additional probable numerical individual
printed wrong careful unnamed uncertain separate same different
"""

_ENGLISH_PHRASES = """
over the whole layer|over the whole|takes? up|taken up|made up|add(?:s|ed)? up|leaves? out|left out|traced back|
handed back|passed down|as well as|as well|as a whole|in line|in part|propagation rules|
do(?:es)? not belong to the object|speak(?:s|ing)?|spoke|count(?:s|ed|ing)? (?:for|against)|
cannot be told|no one should read (?:it|them) as (?:a fact|facts)|(?:not|no) (?:a )?facts?|one can|one of them|
one another|(?:a )?(?:negative|positive) one|(?:can|may) point to a shortcut|
should be checked|spread over|this means that|its own|worth checking|across the layer|
next class|next most probable class|may be wrong|sign of the (?:score|logit)|(?:positive|negative|
other|their|its|the) signs?|sign opposite to|opposite in sign
"""

_GERMAN = """
der die das den dem des ein eine einen einem einer eines dieser diese dieses diesem diesen jener jene jenes er sie es
ihm ihr ihre ihrer ihrem ihren sein seine seiner seinem seinen sich hier wo wie was wer wenn und oder aber doch
während sowie auch zusammen jedoch so nicht kein keine keiner keines keinen keinem nie weder von im in am an auf aus
bei mit nach zu zum zur für um durch zwischen je als davon daran darin dabei dazu hierzu ist sind war waren
hat haben hatte hatten wird werden wurde wurden worden kann können darf dürfen sollte sollten man jede jeder jedes
beide beiden andere anderen anderer anderes klasse klassen foto fotos bild bilder bildes bildern konzept konzepte
konzepts konzepten teilkonzept teilkonzepte unterkonzept unterkonzepte kanal kanäle kanals kanälen schicht schichten
anteil anteile anteils anteilen relevanz wert werte werts werten logit logits wahrscheinlichkeit wahrscheinlichkeiten
softmax softmax-wahrscheinlichkeit netz netzes netze modell vorhersage vorhersagen erklärung erklärungen text texte
tabelle zahl zahlen angabe angaben name namen heatmap bereich bereiche fläche kasten stelle teil teile teilen
summe rest aktivierung aktivierungen zweitplatzierte alternative verfahren verfahrens methode referenzbild
referenzbilder referenzbildern vermutung vermutungen grenze grenzen markierung abkürzung einheit
einheiten genauigkeit beschreibung beschreibungen art gruppe gruppen liste vorsicht wort wörter satz sätze frage
fragen trägt tragen trug trugen getragen hält halten erhält erhalten erhielt erhielten bekommt bekommen bekam gibt
geben gab gegeben ordnet ordnen zugeordnet zugeteilt bewertet liegt liegen lag lagen befindet befinden aufgeführt
aufgeführten genannt genannten heißt heißen nennt nennen beschrieben beschreibt erklärt erklären deckt decken umfasst
umfassen nimmt nehmen einnimmt einnehmen beträgt betragen erreicht erreichen entfällt entfallen bleibt bleiben
verbleibt verbleiben benannt benennt misst gemessen teilt geteilt verteilt verteilen zurückverfolgt verglichen
weitergibt weitergab weitergegeben gezeigt gezeigte gezeigten auslässt ausgelassen enthält enthalten sagt sagen gesagt
lesen gelesen prüfen behandelt verfolgt absolute absoluten absoluter gesamt gesamte gesamten gesamter
ganze ganzen ganzer übrige übrigen übriger weitere weiteren weiterer zusätzliche zusätzlichen wahrscheinlichste
wahrscheinlichsten nächste nächsten eigene eigenen gedruckten unbenannt unsicher einzelne einzelnen
gleiche gleichen selben verschiedene verschiedenen umgekehrte umgekehrten ebenfalls ohne namens dass
"""

_GERMAN_PHRASES = """
sprech(?:en|end\\w*)|spr(?:icht|ach|achen)|zugunsten von|nicht zum objekt (?:selbst )?gehört|
in der ganzen schicht|auf eine abkürzung hindeuten|das nächste|keine tatsachen|nicht als tatsachen?|
(?:umgekehrte[mns]?|gleiche[mns]?|dem|das|positive[ms]?|negative[ms]?|sein|ihr) vorzeichen
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase for phrase in "".join(text.split("\n")).split("|") if phrase)


WORDS: Mapping[str, frozenset[str]] = {"en": _words(_ENGLISH), "de": _words(_GERMAN)}
"""Single words in lower case, by the code of the language."""

PHRASES: Mapping[str, tuple[str, ...]] = {"en": _phrases(_ENGLISH_PHRASES), "de": _phrases(_GERMAN_PHRASES)}
"""Patterns of fixed phrases, whose words may not all be used otherwise."""
