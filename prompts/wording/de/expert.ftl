# Deutsch, für Fachleute. Die Anteile stehen in einer Tabelle unter dem Text; die Sätze wiederholen sie nicht.

less-than = < { $number }
more-than = > { $number }

decision =
    { $standing ->
        [first] { $classes ->
            [several] am wahrscheinlichsten ist { $class } mit { $probability } (Logit { $logit })
           *[exclusive] vorhergesagt wird { $class } mit einer Wahrscheinlichkeit von { $probability } (Logit { $logit })
        }
       *[other] erklärt wird { $class } bei einer Wahrscheinlichkeit von { $probability } (Logit { $logit }); { $classes ->
            [several] am wahrscheinlichsten ist
           *[exclusive] vorhergesagt wird
        } { $predicted }
    }
verdict =
    { $verdict ->
        [right] das Label stimmt überein
        [wrong] das Label ist { $label }
       *[missed] das Label ist { $class }
    }
runner_up =
    { $margin ->
        [above] davor liegt { $runner_up } mit { $probability }
        [close] knapp dahinter liegt { $runner_up } mit { $probability }
       *[other] an zweiter Stelle liegt { $runner_up } mit { $probability }
    }
doubt = die übrigen Klassen zusammen sind wahrscheinlicher als { $class }
accuracy =
    { $band ->
        [highest] Vorhersagen ab { $least } waren bei { $n_right } von { $n_samples } Bildern der Sammlung mit Label richtig
        [lowest] Vorhersagen unter { $below } waren bei { $n_right } von { $n_samples } Bildern der Sammlung mit Label richtig
       *[middle] Vorhersagen von { $least } bis { $below } waren bei { $n_right } von { $n_samples } Bildern der Sammlung mit Label richtig
    }
negative_score = der Logit ist negativ, und von ihm geht die Relevanz aus: positive Anteile haben das umgekehrte Vorzeichen
mark_leads = das führende Konzept ist als Markierung benannt
lead = in { $layer } führt { $concept }
dominance =
    { $known ->
        [yes] das führende Konzept überwiegt alle anderen Kanäle der Schicht zusammen
       *[no] das führende Konzept überwiegt alle anderen Kanäle von { $layer } zusammen
    }
coverage =
    { $n_concepts ->
        [one] das für { $layer } aufgeführte Konzept hat { $coverage }
       *[other] die { $n_concepts } für { $layer } aufgeführten Konzepte haben { $coverage }
    }{ $whole ->
        [yes] {" "}der absoluten Relevanz { $n_channels ->
            [one] des { $n_channels } Kanals
           *[other] der { $n_channels } Kanäle
        } dieser Schicht
       *[no] {" "}aller absoluten Relevanz in der Tiefe dieser Schicht
    }{ $rest ->
        [none] {""}
       *[some] { $n_others ->
            [one] ; { $n_others } weiterer Kanal hat { $rest_share }
           *[other] ; { $n_others } weitere Kanäle haben { $rest_share }
        }
    }
beside = { $beside } der absoluten Relevanz verlaufen neben { $layer }
split =
    { $whole ->
        [yes] vom Logit kommen { $sum } in { $layer } an
       *[no] vom Logit gehen { $sum } durch { $layer } und { $beside_sum } daran vorbei
    }; Biases nahmen { $biases } auf, der Stabilisator { $stabilisers }
concentration =
    { $k ->
        [one] { $known ->
            [yes] { $k } Kanal genügt für die Hälfte der Relevanz
           *[no] { $k } Kanal genügt für die Hälfte der Relevanz von { $layer }
        }
       *[other] { $known ->
            [yes] { $k } Kanäle genügen für die Hälfte der Relevanz
           *[no] { $k } Kanäle genügen für die Hälfte der Relevanz von { $layer }
        }
    }
balance =
    { $known ->
        [yes] über alle Kanäle haben { $supporting } das Vorzeichen des Logits und { $opposing } das umgekehrte
       *[no] über alle Kanäle von { $layer } haben { $supporting } das Vorzeichen des Logits und { $opposing } das umgekehrte
    }
layer_sum =
    { $known ->
        [yes] die Relevanz der Schicht hat mit Vorzeichen die Summe { $sum }
       *[no] die Relevanz von { $layer } hat mit Vorzeichen die Summe { $sum }
    }
no_relevance = in { $layer } kommt keine Relevanz an
no_opposition =
    { $known ->
        [yes] kein aufgeführtes Konzept hat das umgekehrte Vorzeichen
       *[no] in { $layer } hat kein aufgeführtes Konzept das umgekehrte Vorzeichen
    }
no_support = in { $layer } hat kein aufgeführtes Konzept das Vorzeichen des Logits
usual =
    { $level ->
        [same] im Mittel der Klasse { $n ->
            [one] liegt { $list }
           *[other] liegen { $list }
        }
        [more] ungewöhnlich viel { $side ->
            [against] gegen
           *[for] für
        } die Klasse { $n ->
            [one] hat { $list }
           *[other] haben { $list }
        }
       *[less] ungewöhnlich wenig { $side ->
            [against] gegen
           *[for] für
        } die Klasse { $n ->
            [one] hat { $list }
           *[other] haben { $list }
        }
    }
usual-item =
    { $level ->
        [same] { $concept }
        [more] { $concept } (mehr als in { $n_less } von { $n_samples } Bildern)
       *[less] { $concept } (weniger als in { $n_more } von { $n_samples } Bildern)
    }
class_only = im Mittel über die Bilder jeder Klasse { $n ->
        [one] hat { $list }
       *[other] haben { $list }
    } nur bei { $class } einen nennenswerten Anteil
class_only-item = { $concept }
other_class = im Mittel über die Bilder jeder Klasse hat { $concept } bei { $other } einen größeren Anteil: { $other_mean }
absent =
    { $here ->
        [none] das sonst führende Konzept der Klasse, { $concept }, trägt hier nichts
        [little] das sonst führende Konzept der Klasse, { $concept }, hat hier kaum einen Anteil
        [less] das sonst führende Konzept der Klasse, { $concept }, hat hier weniger als ein Viertel seines mittleren Anteils
       *[against] das sonst führende Konzept der Klasse, { $concept }, hat hier das umgekehrte Vorzeichen
    }
contrast = von { $runner_up } unterscheidet sich die Klasse in { $list }
contrast-item = { $concept }
shared = etwa denselben Anteil { $n ->
        [one] hat { $list }
       *[other] haben { $list }
    } auch bei { $runner_up }
shared-item = { $concept }
namesakes =
    { $sum_told ->
        [yes] „{ $bare }“ steht für { $n } Kanäle
       *[no] „{ $bare }“ steht für { $n } Kanäle, die zusammen { $sum } haben
    }
same_place =
    { $sum_told ->
        [yes] { $list } liegen am selben Ort
       *[no] { $pair ->
            [yes] { $list } liegen beide { $place } und haben zusammen { $sum }
           *[no] { $list } liegen alle { $place } und haben zusammen { $sum }
        }
    }
mark =
    { $n ->
        [one] dem Namen nach kein Teil des Objekts, sondern eine Markierung: { $list }
       *[other] den Namen nach keine Teile des Objekts, sondern Markierungen: { $list }
    }
mark-item =
    { $evidence ->
        [class] { $concept } (mit einem Anteil bei dieser Klasse allein: vielleicht eine Abkürzung)
       *[name] { $concept }
    }
scene =
    { $n ->
        [one] dem Namen nach kein Teil des Objekts, sondern seine Umgebung: { $list }
       *[other] den Namen nach keine Teile des Objekts, sondern seine Umgebung: { $list }
    }
scene-item = { $concept }
mixed_name = in zwei Gruppen zerfallen die Referenzen, sodass der Name unsicher ist, bei { $list }
mixed_name-item = { $concept }
names =
    { $maker ->
        [described] statt Namen stehen Beschreibungen von Messungen an den Referenzen, als Namen nicht geprüft
        [described_and_marks] statt Namen stehen Beschreibungen von Messungen an den Referenzen; nur Markierungen sind benannt, als Hypothesen des Namensgebers ohne Netz
        [offline] die Namen sind Hypothesen des Namensgebers ohne Netz, aus Messungen und Labels der Referenzen
        [llm] die Namen sind Hypothesen eines Sprachmodells, das die Referenzen sah
        [person] die Namen sind Hypothesen von Menschen, die die Referenzen sahen
        [program] die Namen sind Hypothesen eines Programms, das die Referenzen sah
       *[several] die Namen sind Hypothesen mehrerer Namensgeber, die die Referenzen sahen
    }
method = Anteile sagen, wie die Regeln den Logit verteilt haben, und nicht, was aus ihm wird, wenn ein Konzept abgeschaltet ist

caption-concepts = Konzepte von { $layer } nach absolutem Anteil
caption-below = was ihre Relevanz eine Schicht tiefer getragen hat
column-concept = Konzept
column-channel = Kanal
column-share = Anteil
column-rival = Für { $runner_up }
column-mean = Klassenmittel
column-relevance = Relevanz
column-activation = Aktivierung
column-place = Ort
column-area = Fläche
column-band = Gleich sichere Namen, richtig
column-below = Über
column-layer = Schicht
