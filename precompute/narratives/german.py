"""German: the sentences of the generated narratives, and the words that the checks look for.

Owns wording only. Must not know tables or models. A name of a sentence with ``_one`` is for a single concept.
"""

from __future__ import annotations

from .language import Language, Lexicon, near

_EXPERT = {
    "expert_prediction": "Erklärt wird die Klasse {class}: Softmax-Wahrscheinlichkeit {probability}, Logit {logit}.",
    "expert_rival_below": "Die nächste Klasse ist {runner_up} mit {runner_up_probability}.",
    "expert_rival_above": "Höher bewertet das Netz {runner_up} mit {runner_up_probability}.",
    "expert_negative": "Der Logit ist negativ, und von ihm geht die Relevanz aus: negative Anteile ergeben diesen "
    "Wert, positive mindern seinen Betrag.",
    "expert_layer": "Die Schicht {layer:$l} hat {n_channels:$l} Kanäle; die {n_concepts:$l} hier aufgeführten "
    "Konzepte tragen {coverage:$l} ihrer gesamten absoluten Relevanz.",
    "expert_layer_one": "Die Schicht {layer:$l} hat {n_channels:$l} Kanäle; das hier aufgeführte Konzept trägt "
    "{coverage:$l} ihrer gesamten absoluten Relevanz.",
    "expert_layer_only": "Die Schicht {layer:$l} hat {n_channels:$l} Kanal mit {coverage:$l} ihrer gesamten "
    "absoluten Relevanz.",
    "expert_balance": "In der ganzen Schicht {layer:$l} haben {supporting:$l} der absoluten Relevanz das Vorzeichen "
    "des Logits und {opposing:$l} das umgekehrte.",
    "expert_largest": "$subject hat den größten Anteil, {share:$c}$details.",
    "expert_supporting": "$subject spricht mit {share:$c} für die Klasse$details.",
    "expert_opposing": "$subject spricht mit {share:$c} gegen die Klasse$details.",
    "expert_neutral": "$subject hat einen Anteil von {share:$c}$details.",
    "expert_details": " (Relevanz {relevance:$c}, Aktivierung {activation:$c})",
    "expert_where": "; die Heatmap liegt {place:$c}, in einem Kasten, der {area:$c} des Fotos einnimmt",
    "expert_subject": "{name:$c} (Kanal {channel:$c})",
    "expert_sub_concepts": "Von der Relevanz, die {name:$c} an die Schicht {layer:$s} weitergab, erhielt $items.",
    "expert_sub_item": "{name:$c} (Kanal {channel:$c}): {share:$c}",
    "expert_sub_item_unnamed": "{name:$c}: {share:$c}",
    "expert_rival_shares": "Für {runner_up} sind die Anteile: $items.",
    "expert_rival_item": "{name:$c} ({runner_up_share:$c})",
    "expert_conserved": "Die Relevanz von {layer:$l} hat die Summe {relevance_sum:$l}; das ist in der gedruckten "
    "Genauigkeit der Logit.",
    "expert_sum": "Die Relevanz von {layer:$l} hat die Summe {relevance_sum:$l}, der Logit ist {logit}; der "
    "Unterschied liegt bei Bias-Werten, beim numerischen Stabilisator und bei parallelen Schichten.",
    "expert_rest": "Die übrigen {n_others:$l} Kanäle von {layer:$l} mit {uncovered:$l} der absoluten Relevanz sind "
    "hier nicht beschrieben.",
    "expert_rest_one": "Der übrige Kanal von {layer:$l} (Anzahl: {n_others:$l}) mit {uncovered:$l} der absoluten "
    "Relevanz ist hier nicht beschrieben.",
    "expert_confidence": "Sicherheit, die der Namensgeber angab: $items.",
    "expert_confidence_item": "{name:$c} ({confidence:$c})",
    "expert_caveat": "Anteile sagen, wie die Propagationsregeln den Logit auf die Kanäle verteilt haben; sie prüfen "
    "nicht, was beim Entfernen eines Konzepts geschieht.",
}

_STAKEHOLDER = {
    "plain_prediction": "Das Netz ordnet diesem Foto die Klasse {class} mit einer Wahrscheinlichkeit von "
    "{probability} zu.",
    "plain_prediction_other": "Dieser Text erklärt die Klasse {class}; das Netz gibt ihr eine Wahrscheinlichkeit von "
    "{probability}.",
    "plain_rival_below": "Die nächste Klasse ist {runner_up} mit {runner_up_probability}.",
    "plain_rival_above": "Höher bewertet das Netz {runner_up} mit {runner_up_probability}.",
    "plain_doubt": "Andere Klassen haben zusammen den überwiegenden Teil der Wahrscheinlichkeit; die Klasse ist "
    "also zweifelhaft.",
    "plain_sure": "Die Wahrscheinlichkeit ist die eigene Angabe des Netzes; wie oft sie zutrifft, muss an vielen "
    "Fotos gemessen werden.",
    "plain_relevance": "Zur Erklärung wird der Wert des Netzes für {class} durch das Netz zurückverfolgt und auf "
    "seine Kanäle verteilt; was ein Kanal erhält, heißt seine Relevanz.",
    "plain_negative": "Der Wert für {class} ist negativ; die Vorzeichen werden deshalb mit dem Wert verglichen "
    "und sind kein Für oder Wider.",
    "plain_largest": "Das Konzept mit dem größten Anteil ist {name:$c}$where: {magnitude:$c} der Relevanz.",
    "plain_largest_supporting": "Das Konzept mit dem größten Anteil ist {name:$c}$where: {magnitude:$c} der "
    "Relevanz, zugunsten von {class}.",
    "plain_largest_opposing": "Das Konzept mit dem größten Anteil ist {name:$c}$where: {magnitude:$c} der Relevanz, "
    "und zwar gegen {class}.",
    "plain_largest_same": "Das Konzept mit dem größten Anteil ist {name:$c}$where: {magnitude:$c} der Relevanz, mit "
    "dem Vorzeichen des Werts.",
    "plain_largest_opposite": "Das Konzept mit dem größten Anteil ist {name:$c}$where: {magnitude:$c} der Relevanz, "
    "mit umgekehrtem Vorzeichen zum Wert.",
    "plain_also_supporting": "Ebenfalls zugunsten von {class}: $items.",
    "plain_supporting": "Zugunsten von {class}: $items.",
    "plain_opposing": "Gegen {class}: $items.",
    "plain_also_opposing": "Ebenfalls gegen {class}: $items.",
    "plain_same": "Mit dem Vorzeichen des Werts: $items.",
    "plain_opposite": "Mit umgekehrtem Vorzeichen zum Wert: $items.",
    "plain_item": "{name:$c} ({magnitude:$c}$where)",
    "plain_where": ", {place:$c}",
    "plain_no_support": "Keines der gezeigten Konzepte spricht für {class}.",
    "plain_no_opposition": "Keines der gezeigten Konzepte spricht gegen {class}.",
    "plain_no_relevance": "Keines der gezeigten Konzepte trug Relevanz.",
    "plain_dominance": "{name:$c} überwiegt allein alle anderen Kanäle seiner Schicht zusammen.",
    "plain_coverage": "Zusammen tragen die {n_concepts:$l} gezeigten Konzepte {coverage:$l} der Relevanz ihrer "
    "Schicht.",
    "plain_coverage_one": "Das gezeigte Konzept trägt {coverage:$l} der Relevanz seiner Schicht.",
    "plain_rest": "Die übrigen {uncovered:$l} liegen bei {n_carrying:$l} von {n_others:$l} Kanälen, die dieser Text "
    "auslässt.",
    "plain_rest_one": "Die übrigen {uncovered:$l} liegen bei {n_others:$l} Kanal, den dieser Text auslässt.",
    "plain_other_layers": "Das Netz hat auch andere Schichten; was dieser Text sagt, betrifft {layer:$l}, und der Text "
    "für Fachleute geht jede erklärte Schicht durch.",
    "plain_rival_share": "Der Anteil von {name:$c} beträgt für {runner_up} {runner_up_share:$c}; für {class} ist er "
    "{share:$c}.",
    "plain_caveat": "Die Anteile sagen, wie der Wert verteilt wurde; sie prüfen nicht, was bei einer Änderung am "
    "Foto geschieht.",
}

_NAMES = {
    "mark": "{name:$c} ist als Markierung benannt, als etwas, das nicht zum Objekt selbst gehört; es trug "
    "{magnitude:$c} der Relevanz seiner Schicht, was auf eine Abkürzung hindeuten kann und geprüft werden sollte.",
    "names_offline": "Die Namen hat ein Programm aus Messungen an Referenzbildern und aus deren Klassen gebildet, "
    "ohne Sprachmodell und ohne einen Menschen; sie sind Vermutungen, keine Tatsachen.",
    "names_llm": "Die Namen hat ein Sprachmodell vergeben, dem Referenzbilder gezeigt wurden; sie sind Vermutungen, "
    "keine Tatsachen.",
    "names_person": "Die Namen hat ein Mensch vergeben; sie sind Vermutungen, keine Tatsachen.",
    "names_some_offline": "Von einem Programm aus Messungen an Referenzbildern und aus deren Klassen benannt, also "
    "Vermutungen und keine Tatsachen: $items.",
    "names_some_llm": "Von einem Sprachmodell benannt, dem Referenzbilder gezeigt wurden, also Vermutungen und "
    "keine Tatsachen: $items.",
    "names_some_person": "Von einem Menschen benannt, also Vermutungen und keine Tatsachen: $items.",
    "names_mixed": "Die Referenzbilder von {name:$c} zerfallen in Gruppen verschiedenen Inhalts; der Name ist deshalb "
    "unsicher.",
    "name_item": "{name:$c}",
}

_ADJECTIVE = r"(?:e|er|es|en|em)?"
_NUMERALS = (
    r"null|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|\w+zehn|(?:\w+und)?(?:zwan|vier|fünf|sech|sieb|"
    r"acht|neun)zig|(?:\w+und)?dreißig|(?:\w+)?hundert\w*|(?:\w+)?tausend\w*|million\w*|milliarde\w*|dutzend\w*",
    r"(?:ein )?halb" + _ADJECTIVE + r"|hälfte|drittel|viertel|fünftel|sechstel|siebtel|achtel|neuntel|zehntel|"
    r"\w+zehntel|(?:\w+ig|hundert|tausend)stel",
    r"(?:zweit|dritt|viert|fünft|sechst|siebt|acht|neunt|zehnt)(?:e|er|es|en|em)|zweit\w+|dritt\w+",
    r"einmal|zweimal|dreimal|(?:zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|hundert|tausend)fach"
    + _ADJECTIVE
    + r"|doppelt"
    + _ADJECTIVE
    + r"|verdoppel\w+|verdreifach\w+|"
    r"halbiert?\w*|paar|einzig" + _ADJECTIVE + r"|eins",
    r"prozent\w*|promille|anderthalb\w*|(?:rang|platz|nummer) i|i{2,3}|iv|vi{1,3}|ix|xi{0,3}v?|löwenanteil\w*",
)

GERMAN = Language(
    code="de",
    quotes=("\u201e", "\u201c"),
    unnamed="Kanal {channel} von {layer} (ohne Namen)",
    mixed="{first} / {second} (gemischt)",
    namesake="{name} von Kanal {channel}",
    list_end=" und ",
    place_phrases={
        "centre": "in der Mitte",
        "left": "links",
        "right": "rechts",
        "upper": "oben",
        "lower": "unten",
        "left upper": "oben links",
        "right upper": "oben rechts",
        "left lower": "unten links",
        "lower right": "unten rechts",
        "centre upper": "oben in der Mitte",
        "centre lower": "unten in der Mitte",
        "centre left": "links der Mitte",
        "centre right": "rechts der Mitte",
        "whole": "über das ganze Foto verteilt",
    },
    other_place="an der Stelle {words}",
    sentences=_EXPERT | _STAKEHOLDER | _NAMES,
    lexicon=Lexicon(
        numerals=_NUMERALS,
        quantities=(
            r"mehrheit|minderheit|großteil|überwiegend|hauptsächlich|vorwiegend|größtenteils|gänzlich|völlig|"
            r"vollständig|ausschließlich|genau|die meisten?n?|fast (?:alle|alles|keine?|nichts|jede\w*)|"
            r"nahezu (?:alle|alles|keine?|nichts)",
            r"alle konzepte|alle kanäle|sämtliche\w*|jedes konzept|jeder kanal|kein\w* konzept\w*|kein\w* kan\w+|"
            r"alles|nichts|keine relevanz|das konzept, das|(?:ganze|gesamte) relevanz|"
            r"(?:nur|lediglich)(?= \u25a1| ein| das konzept)|verschwindend\w*|keine[rs]|"
            r"riesig\w*|gewaltig\w*|enorm\w*|winzig\w*",
        ),
        bounds=(
            r"mehr als|weniger als|über|unter|mindestens|höchstens|bis zu|fast|nahezu|knapp|beinahe|mal|minus|plus",
        ),
        superlatives=(
            r"(?:am )?(?:stärkst|größt|höchst|wichtigst|meist|gewichtigst|relevantest|bedeutendst|vordringlichst|"
            r"vorderst|oberst|erst)(?:e|er|es|en|em)(?! linie\b)",
            r"haupt(?:konzept|beitrag|merkmal)\w*|vor allem|führend\w*|dominier\w+|dominant\w*|vorherrsch\w+|zuerst|"
            r"unübertroffen\w*|unerreicht\w*|konkurrenzlos\w*|spitzenreiter\w*|ragt heraus|gewinnt",
        ),
        lowest=(r"(?:am )?(?:schwächst|kleinst|geringst|niedrigst|wenigst|letzt|unwichtigst)(?:e|er|es|en|em)",),
        more=(
            r"(?:mehr|stärker\w*|größer\w*|höher\w*|wichtiger\w*)\b.*?\bals",
            r"übertrifft|überwiegt|schlägt|übertrumpft|(?:liegt|steht|kommt) vor|"
            r"verglichen mit \u25a1|im vergleich zu \u25a1",
        ),
        less=(
            r"(?:weniger|schwächer\w*|kleiner\w*|geringer\w*|niedriger\w*)\b.*?\bals",
            r"bleibt hinter|unterliegt|(?:liegt|steht|kommt) nach",
        ),
        other_measures=(r"fläche\w*|bereich\w*|kasten|größe|sicherheit|aktivier\w+",),
        equal=(
            r"(?:gleich|genauso|ebenso) (?:viel|stark|groß|hoch|wichtig)|gleichauf|in der gedruckten genauigkeit|"
            r"(?:denselben|den gleichen|die gleiche|gleiches?) (?:anteil|wahrscheinlichkeit|vorzeichen)",
        ),
        supporting=(
            r"sprech(?:en|end\w*)(?= für\b)|spr(?:icht|ach|echen|achen) (?:\S+ ){0,6}für|zugunsten|positiv\w*|"
            r"unterstütz\w+|stütz(?:t|en|te|ten|end\w*)|befürwort\w+|"
            r"stärkt|stärken|beitr(?:ag|agen|ägt|äge|ägen)|trägt (?:\S+ ){0,6}bei|trugen? (?:\S+ ){0,6}bei|"
            r"erhöh(?:t|en|te|ten)|steiger\w+|deutet auf|deuten auf|weist auf|bestätig\w+|begünstig\w+|"
            r"h(?:ilft|elfen|alf|alfen)|förder(?:t|n|te|ten)|pass(?:t|en) (?:gut )?zu|legt \u25a1 nahe|typisch für",
            r"(?:mit dem|hat das|haben das) vorzeichen des (?:logits|werts)",
        ),
        opposing=(
            r"gegen|dagegen|entgegen\w*|negativ\w*|schwäch(?:t|en|te|ten)|senk(?:t|en|te|ten)|verringer\w+|"
            r"mindert|mindern|widersprich\w*|widersprech\w*|hemm(?:t|en|te|end\w*)|zuungunsten|zulasten|"
            r"reduzier\w+|unterdrück\w+|schade(?:t|n|te|ten)|hinder(?:t|n|te|ten)|widerspricht",
            r"mit umgekehrtem vorzeichen zum (?:logit|wert)|(?:hat|haben) das umgekehrte vorzeichen",
        ),
        negations=(r"nicht|nichts|nie|niemals|kein\w*|weder|noch|kaum|ohne",),
        places={
            r"links|linke\w*|linker\w*": "left",
            r"rechts|rechte\w*": "right",
            r"oben|obere\w*|oberhalb": "upper",
            r"unten|untere\w*": "lower",
            r"mitte|mittig|zentral\w*|zentrum": "centre",
            r"ganze\w* (?:foto|bild)\w*|überall": "whole",
            r"hintergrund\w*|vordergrund\w*|ecke\w*|rand|rande|ränder\w*|neben|hinter|seite|seiten|norden|süden|"
            r"osten|westen|"
            r"außerhalb": "",
        },
        causes=(
            r"weil|wegen|stütz\w+ sich|"
            r"aufgrund|auf grund|infolge|dank|verursach\w+|bewirk\w+|ursach\w+|ursächlich\w*|kausal\w*|"
            r"führ(?:t|te|ten|en) (?:\S+ ){0,6}(?:zu|zur|zum|dazu)|daher|darum|somit|folglich|deswegen|demnach|"
            r"dadurch|sodass|so dass|"
            r"denn|da (?:das|die|der|es)",
            r"würde\w*|hätte\w*|wäre\w*|könnte\w*|ohne (?:dies\w*|es|das|den|die|\u25a1)|"
            r"wenn (?:\S+ ){0,4}(?:wäre|hätte)",
            r"ausschlaggebend\w*|entscheid\w+|entschied\w*|bestimm(?:t|en|te|end)|verantwortlich\w*|gründ\w+|grund|"
            r"beeinfluss\w+|einfluss\w*|wirkung\w*|auswirk\w+|abhängig\w*|häng\w+ (?:\S+ ){0,3}ab|beruh\w+|basier\w+|"
            r"notwendig\w*|nötig\w*|unverzichtbar\w*|erforderlich\w*|hinreichend\w*|auslös\w+|erzeug\w+|"
            r"macht das (?:netz|modell)|bringt das (?:netz|modell)|lässt das (?:netz|modell)|"
            r"sorg(?:t|te|en|ten) (?:\S+ ){0,3}für|lenk(?:t|te|en)|ergibt|präg(?:t|te|en)|ausschlag\w*|"
            r"steuer(?:t|te|n)|"
            r"(?:klasse|vorhersage|ergebnis|wert|\u25a1) (?:kommt|stammt|rührt) von|"
            r"geht auf (?:\S+ ){0,3}zurück|macht \u25a1",
        ),
        minds=(
            r"denkt|denken|dachte|glaubt|glauben|weiß|wissen|versteh\w+|verstand|sieht|sehen|sah|"
            r"erkenn\w+|erkannt\w*|"
            r"will|meint|hält (?:\S+ ){0,4}für|beachtet|schaut|blickt|achtet|verwechsel\w+|vermutet|schließt|"
            r"interpretier\w+|lernt\w*|gelernt|überzeugt|ist sich sicher",
        ),
        certainties=(
            r"keine vermutung\w*|kein\w* andere klasse|namen hat das netz|zweifellos|zweifelsfrei|ohne zweifel|"
            r"kein\w* zweifel|sicherlich|eindeutig\w*|"
            r"(?:\u25a1|klasse|vorhersage) ist (?:nicht )?(?:richtig|korrekt|falsch|sicher|wahr)|"
            r"(?:foto|bild) (?:zeigt|enthält)",
        ),
        assertions=(
            r"(?:dies|das|es|hier|foto|bild|\u25a1) (?:ist|sind|war|waren|trägt|hat) "
            r"(?:ein |eine |einen |der |die |das )?\u25a1",
        ),
        measures={
            near(r"wahrscheinlichkeit"): ("probability", "runner_up_probability"),
            near(r"logit"): ("logit", "relevance_sum"),
            near(r"anteil"): ("share", "magnitude", "runner_up_share"),
            r"\u25a1 (?:der )?kanäle": ("n_channels", "n_others", "n_carrying"),
            r"\u25a1 (?:der )?(?:schichten|bilder|klassen|fläche)": ("area",),
            r"aktivierung(?: von| ist|:)? \u25a1": ("activation",),
            r"relevanz(?: ist|:)? \u25a1": ("relevance", "relevance_sum", "share", "magnitude", "coverage"),
            r"\u25a1 (?:des fotos|des bildes|vom foto|vom bild)": ("area",),
            r"\u25a1 (?:der wahrscheinlichkeit|des wert\w*|des logits?)": (),
            r"\u25a1 der relevanz": ("share", "magnitude", "coverage", "uncovered", "supporting", "opposing"),
            r"konzepte (?:tragen|haben|halten|decken) \u25a1": ("coverage",),
        },
        class_words=(r"klasse",),
        mark_words=(r"markierung(?:en)?|zum objekt(?: selbst)? gehör\w+|gehör\w+ zum objekt",),
        photo_words=(r"fotos?|bild(?:e|es|er|ern|s)?",),
        function_words=frozenset(
            ["der", "die", "das", "und", "ist", "mit", "für", "von", "im", "den", "dem", "des", "trägt", "ein", "eine"]
        ),
    ),
)
