# Deutsch, für Menschen, die den Einsatz des Netzes verantworten und nichts von Netzen wissen.

decision =
    { $classes ->
        [several] { decision-several }
       *[exclusive] { $standing ->
            [first] das Netz sagt { $class }, mit einer Wahrscheinlichkeit von { $probability }
           *[other] das Netz sagt { $predicted }; hier geht es um { $class }, wofür es eine Wahrscheinlichkeit von { $probability } angibt
        }
    }
    .other =
    { $classes ->
        [several] { decision-several }
       *[exclusive] { $standing ->
            [first] die Antwort des Netzes ist { $class }, mit einer Wahrscheinlichkeit von { $probability }
           *[other] die Antwort des Netzes ist { $predicted }; hier geht es um { $class } mit einer Wahrscheinlichkeit von { $probability }
        }
    }
    .third =
    { $classes ->
        [several] { decision-several }
       *[exclusive] { $standing ->
            [first] mit einer Wahrscheinlichkeit von { $probability } sagt das Netz { $class }
           *[other] mit einer Wahrscheinlichkeit von { $probability } kommt { $class } hinter der Antwort des Netzes, { $predicted }
        }
    }
# Wo ein Foto mehrere Klassen zugleich haben kann.
decision-several =
    { $standing ->
        [first] am wahrscheinlichsten ist für das Netz { $class } mit { $probability }
       *[other] für { $class }, worum es hier geht, gibt das Netz eine Wahrscheinlichkeit von { $probability } an; am wahrscheinlichsten ist ihm { $predicted }
    }
verdict =
    { $verdict ->
        [right] als { $class } ist das Foto auch gekennzeichnet
        [wrong] gekennzeichnet ist das Foto als { $label }
       *[missed] als { $class } ist das Foto gekennzeichnet
    }
runner_up =
    { $margin ->
        [above] wahrscheinlicher ist { $runner_up } mit { $probability }
        [close] fast ebenso wahrscheinlich ist { $runner_up } mit { $probability }
        [far] die nächste Klasse, { $runner_up }, liegt mit einer Wahrscheinlichkeit von { $probability } weit zurück
       *[some] die nächste Klasse ist { $runner_up } mit einer Wahrscheinlichkeit von { $probability }
    }
doubt = alle anderen Klassen zusammen sind wahrscheinlicher als { $class }
accuracy =
    { $band ->
        [highest] bei so hohen Angaben (ab { $least }) lag das Netz in { $n_right } von { $n_samples } gekennzeichneten Fotos dieser Sammlung richtig
        [lowest] bei so niedrigen Angaben (unter { $below }) lag das Netz in { $n_right } von { $n_samples } gekennzeichneten Fotos dieser Sammlung richtig
       *[middle] bei Angaben wie hier ({ $least } bis { $below }) lag das Netz in { $n_right } von { $n_samples } gekennzeichneten Fotos dieser Sammlung richtig
    }
negative_score = der Wert für { $class } ist negativ; das Folgende sagt, welche Konzepte sein Vorzeichen haben, und nicht, was für oder gegen die Klasse spricht

mark_leads = am meisten zählt, dem Namen nach, eine Markierung und nicht das Objekt
lead =
    { $share_told ->
        [yes] { lead-told }
       *[no] { $score ->
            [negative] { $side ->
                [for] den größten Anteil an der Relevanz, { $share }, mit dem Vorzeichen des Wertes, hat { $spot }
               *[against] den größten Anteil an der Relevanz, { $share }, mit umgekehrtem Vorzeichen, hat { $spot }
            }
           *[positive] { $side ->
                [for] den größten Anteil an der Relevanz, { $share }, hat { $spot }
               *[against] der größte Anteil an der Relevanz, { $share }, spricht gegen { $class }: { $spot }
            }
        }
    }
    .other =
    { $share_told ->
        [yes] { lead-told }
       *[no] { $score ->
            [negative] { $side ->
                [for] an der Spitze steht, mit dem Vorzeichen des Wertes und { $share } der Relevanz, { $spot }
               *[against] an der Spitze steht, mit umgekehrtem Vorzeichen und { $share } der Relevanz, { $spot }
            }
           *[positive] { $side ->
                [for] an der Spitze steht mit { $share } der Relevanz { $spot }
               *[against] { $share } der Relevanz, so viel wie an keiner anderen Stelle, sprechen gegen { $class }: { $spot }
            }
        }
    }
    .third =
    { $share_told ->
        [yes] { lead-told }
       *[no] { $score ->
            [negative] { $side ->
                [for] an erster Stelle steht, mit { $share } der Relevanz und dem Vorzeichen des Wertes, { $spot }
               *[against] an erster Stelle steht, mit { $share } der Relevanz und umgekehrtem Vorzeichen, { $spot }
            }
           *[positive] { $side ->
                [for] an erster Stelle steht { $spot } mit { $share } der Relevanz
               *[against] an erster Stelle steht etwas, das gegen { $class } spricht: { $spot } mit { $share } der Relevanz
            }
        }
    }
# Dasselbe, nachdem ein anderer Satz den Anteil genannt hat.
lead-told =
    { $score ->
        [negative] { $side ->
            [for] kein Anteil an der Relevanz ist größer als der von { $concept }, der das Vorzeichen des Wertes hat
           *[against] kein Anteil an der Relevanz ist größer als der von { $concept }, der das umgekehrte Vorzeichen hat
        }
       *[positive] { $side ->
            [for] { $again ->
                [yes] kein anderer Anteil an der Relevanz ist so groß
               *[no] den größten Anteil an der Relevanz hat { $spot }
            }
           *[against] { $again ->
                [yes] das ist der größte Anteil von allen, und er spricht gegen { $class }
               *[no] der größte Anteil von allen, der von { $concept }, spricht gegen { $class }
            }
        }
    }
dominance =
    { $again ->
        [yes] das ist mehr als alles Übrige zusammen
       *[no] mehr als die Hälfte der Relevanz hat { $concept }
    }
supports-item =
    { $share_told ->
        [yes] { $spot }
       *[no] { $spot } ({ $share })
    }
supports =
    { $score ->
        [negative] das Vorzeichen des Wertes { $n ->
            [one] hat auch { $list }
           *[other] haben auch { $list }
        }
       *[positive] { $also ->
            [yes] für { $class } { $n ->
                [one] spricht auch { $list }
               *[other] sprechen auch { $list }
            }
           *[no] für { $class } { $n ->
                [one] spricht { $list }
               *[other] sprechen { $list }
            }
        }
    }
    .other =
    { $score ->
        [negative] auch { $list } { $n ->
            [one] hat das Vorzeichen des Wertes
           *[other] haben das Vorzeichen des Wertes
        }
       *[positive] { $also ->
            [yes] dazu { $n ->
                [one] kommt { $list }
               *[other] kommen { $list }
            }
           *[no] gestützt wird { $class } durch { $list }
        }
    }
    .third =
    { $score ->
        [negative] dasselbe Vorzeichen wie der Wert { $n ->
            [one] hat { $list }
           *[other] haben { $list }
        }
       *[positive] { $also ->
            [yes] gestützt wird { $class } außerdem durch { $list }
           *[no] gestützt wird { $class } durch { $list }
        }
    }
opposes-item =
    { $share_told ->
        [yes] { $spot }
       *[no] { $spot } ({ $share })
    }
opposes =
    { $score ->
        [negative] das umgekehrte Vorzeichen { $n ->
            [one] hat { $list }
           *[other] haben { $list }
        }
       *[positive] { $level ->
            [slight] ein wenig gegen { $class } { $n ->
                [one] spricht { $list }
               *[other] sprechen { $list }
            }
           *[plain] gegen { $class } { $n ->
                [one] spricht { $list }
               *[other] sprechen { $list }
            }
        }
    }
    .other =
    { $score ->
        [negative] mit umgekehrtem Vorzeichen erscheint { $list }
       *[positive] { $level ->
            [slight] ein wenig Relevanz gegen { $class } { $n ->
                [one] hat { $list }
               *[other] haben { $list }
            }
           *[plain] Relevanz gegen { $class } { $n ->
                [one] hat { $list }
               *[other] haben { $list }
            }
        }
    }
no_opposition = keines der gezeigten Konzepte spricht gegen { $class }
no_support = keines der gezeigten Konzepte spricht für { $class }
no_relevance = in der erklärten Schicht kommt keine Relevanz an, sodass von keinem Konzept etwas zu sagen ist
namesakes =
    { $sum_told ->
        [yes] „{ $bare }“ steht für { $n } getrennte Kanäle
       *[no] { $score ->
        [negative] „{ $bare }“ steht für { $n } getrennte Kanäle; zusammen haben sie { $sum } der Relevanz
       *[positive] „{ $bare }“ steht für { $n } getrennte Kanäle; zusammen { $side ->
            [for] sprechen sie mit { $sum } der Relevanz für
           *[against] sprechen sie mit { $sum } der Relevanz gegen
        } { $class }
    }
    }
same_place =
    { $sum_told ->
        [yes] { $list } liegen im selben Teil des Fotos
       *[no] { $pair ->
            [yes] { $list } liegen beide { $place } und haben zusammen { $sum } der Relevanz
           *[no] { $list } liegen alle { $place } und haben zusammen { $sum } der Relevanz
        }
    }

usual =
    { $level ->
        [same] { $mean_told ->
            [yes] der Anteil von { $concept } ist für { $class } üblich
           *[no] { $again ->
                [yes] das ist etwa so viel wie im Mittel der { usual-photos } ({ $mean })
               *[no] der Anteil von { $concept } ist für { $class } üblich; im Mittel sind es { $mean }
            }
        }
        [more] { $again ->
            [yes] { $part ->
                [all] das ist mehr als in allen { $n_samples } { usual-photos }
               *[most] das ist mehr als in { $n_less } der { $n_samples } { usual-photos }
            }
           *[no] { $side ->
                [for] größer als in { $n_less } der { $n_samples } { usual-photos } ist der Anteil von { $concept }
               *[against] größer als in { $n_less } der { $n_samples } { usual-photos } ist, was { $concept } dagegen beiträgt
            }
        }{ $mean_told ->
            [yes] {""}
           *[no] { $average ->
                [some] ; im Mittel sind es { $mean }
                [little] ; im Mittel ist es so gut wie nichts
               *[opposite] ; im Mittel sind es { $mean } auf der Gegenseite
            }
        }
       *[less] { $again ->
            [yes] { $part ->
                [all] das ist weniger als in allen { $n_samples } { usual-photos }
               *[most] das ist weniger als in { $n_more } der { $n_samples } { usual-photos }
            }
           *[no] { $side ->
                [for] kleiner als in { $n_more } der { $n_samples } { usual-photos } ist der Anteil von { $concept }
               *[against] kleiner als in { $n_more } der { $n_samples } { usual-photos } ist, was { $concept } dagegen beiträgt
            }
        }{ $mean_told ->
            [yes] {""}
           *[no] ; im Mittel sind es { $mean }
        }
    }
# Ohne bekannte oder gezählte Labels sind es die Fotos, die das Netz für die Klasse hält.
usual-photos =
    { $photos ->
        [labelled] Fotos von { $class } in dieser Sammlung
       *[taken] vom Netz für { $class } gehaltenen Fotos dieser Sammlung
    }
class_only =
    { $again ->
        [yes] im Mittel hat dieses Konzept bei keiner anderen Klasse einen nennenswerten Anteil
       *[no] im Mittel hat { $concept } bei keiner Klasse außer { $class } einen nennenswerten Anteil
    }
other_class =
    { $average ->
        [some] { $mean_told ->
            [yes] für { $other } ist das Mittel höher, { $other_mean }
           *[no] { $again ->
            [yes] im Mittel zählt dieses Konzept für { $other } mehr ({ $other_mean }) als für { $class } ({ $mean })
           *[no] im Mittel zählt { $concept } für { $other } mehr ({ $other_mean }) als für { $class } ({ $mean })
        }
        }
       *[other] { $again ->
            [yes] im Mittel zählt dieses Konzept für { $other } ({ $other_mean }) und nicht für { $class }
           *[no] im Mittel zählt { $concept } für { $other } ({ $other_mean }) und nicht für { $class }
        }
    }
absent =
    { $here ->
        [none] hier fehlt, was bei { $class } sonst führt: { $concept }{ $mean_told ->
            [yes] , mit nichts in diesem Foto
           *[no] , mit { $mean } im Mittel und nichts in diesem Foto
        }
        [little] hier fehlt fast ganz, was bei { $class } sonst führt: { $concept }{ absent-shares }
        [less] viel schwächer als sonst ist hier, was bei { $class } im Mittel führt: { $concept }{ absent-shares }
       *[against] hier ist ins Gegenteil verkehrt, was bei { $class } sonst führt: { $concept }{ $share_told ->
            [yes] { $mean_told ->
                [yes] {""}
               *[no] , mit { $mean } dafür im Mittel
            }
           *[no] { $mean_told ->
                [yes] , mit { $share } dagegen in diesem Foto
               *[no] , mit { $mean } dafür im Mittel und { $share } dagegen in diesem Foto
            }
        }
    }
absent-shares =
    { $share_told ->
        [yes] { $mean_told ->
            [yes] {""}
           *[no] , mit { $mean } im Mittel
        }
       *[no] { $mean_told ->
            [yes] , mit { $share } in diesem Foto
           *[no] , mit { $mean } im Mittel und { $share } in diesem Foto
        }
    }
contrast =
    { $share_told ->
        [yes] { $rival_side ->
            [for] ein Unterschied zu { $runner_up } ist { $concept }: dort sind es { $rival_share }
            [against] ein Unterschied zu { $runner_up } ist { $concept }: dort sprechen { $rival_share } dagegen
           *[none] ein Unterschied zu { $runner_up } ist { $concept }: dort zählt es nicht
        }
       *[no] { $rival_side ->
            [for] ein Unterschied zu { $runner_up } ist { $concept }, mit { $share } für { $class } und { $rival_share } für { $runner_up }
            [against] ein Unterschied zu { $runner_up } ist { $concept }, mit { $share } für { $class } und { $rival_share } gegen { $runner_up }
           *[none] ein Unterschied zu { $runner_up } ist { $concept }, mit { $share } für { $class } und nichts für { $runner_up }
        }
    }
shared = etwa gleich viel, { $rival_share }, hat { $concept } auch für { $runner_up }

coverage =
    { $n_concepts ->
        [one] das stärkste Konzept hat { $coverage } der Relevanz
       *[other] die { $n_concepts } stärksten Konzepte haben { $coverage } der Relevanz
    }{ coverage-rest }
    .other =
    { $n_concepts ->
        [one] auf das stärkste Konzept entfallen { $coverage } der Relevanz
       *[other] auf die { $n_concepts } stärksten Konzepte entfallen { $coverage } der Relevanz
    }{ coverage-rest }
    .third =
    { $n_concepts ->
        [one] von der Relevanz liegen { $coverage } beim stärksten Konzept
       *[other] von der Relevanz liegen { $coverage } bei den { $n_concepts } stärksten Konzepten
    }{ coverage-rest-with }
coverage-rest =
    { $rest ->
        [none] {""}
       *[some] { $whole ->
            [yes] { $n_others ->
                [one] , der Rest liegt bei { $n_others } weiterem Kanal
               *[other] , der Rest liegt bei { $n_others } weiteren
            }
           *[no] { $n_others ->
                [one] , { $rest_share } liegen bei { $n_others } weiterem Kanal
               *[other] , { $rest_share } liegen bei { $n_others } weiteren
            }
        }
    }
coverage-rest-with =
    { $rest ->
        [none] {""}
       *[some] { $whole ->
            [yes] { $n_others ->
                [one] , der Rest bei { $n_others } weiterem Kanal
               *[other] , der Rest bei { $n_others } weiteren
            }
           *[no] { $n_others ->
                [one] , { $rest_share } bei { $n_others } weiterem Kanal
               *[other] , { $rest_share } bei { $n_others } weiteren
            }
        }
    }
beside = { $beside } der Relevanz laufen neben dieser Schicht
concentration =
    { $k ->
        [one] { $k } von { $n_channels } Kanälen genügt für die Hälfte der Relevanz
       *[other] { $k } von { $n_channels } Kanälen genügen für die Hälfte der Relevanz
    }
other_layers = alle Anteile gelten für { $layer }, eine von { $n_layers } erklärten Schichten

mark =
    { $again ->
        [yes] dem Namen nach ist das eine Markierung, die nicht zum Objekt gehört{ mark-evidence }
       *[no] { $share_told ->
            [yes] dem Namen nach ist { $concept } eine Markierung, die nicht zum Objekt gehört{ mark-evidence }
           *[no] { $side ->
                [against] { $concept }, mit { $share } der Relevanz und auf der Gegenseite, ist dem Namen nach eine Markierung, die nicht zum Objekt gehört{ mark-evidence }
               *[other] { $concept }, mit { $share } der Relevanz, ist dem Namen nach eine Markierung, die nicht zum Objekt gehört{ mark-evidence }
            }
        }
    }
# Ob mehr als ein Name für eine Abkürzung spricht: ein Anteil bei dieser Klasse allein.
mark-evidence =
    { $evidence ->
        [class] : vielleicht eine Abkürzung, die zu prüfen ist
       *[name] ; das ist eine Vermutung, die zu prüfen ist
    }
scene =
    { $again ->
        [yes] dem Namen nach ist das die Umgebung und nicht das Objekt
       *[no] dem Namen nach gehört { $concept } zur Umgebung und nicht zum Objekt
    }
mixed_name =
    { $again ->
        [yes] der Name ist unsicher, denn die Bilder dahinter zerfallen in zwei Gruppen
       *[no] die Bilder hinter { $concept } zerfallen in zwei Gruppen, der Name ist also unsicher
    }
name_band =
    { $right ->
        [all] { $alike ->
            [way] alle { $n_names } Markierungen, die ebenso gefunden wurden, stimmten in einer Probe mit gezeichneten Bildern
           *[surety] { $again ->
                [yes] alle { $n_names } ebenso sicher vergebenen Namen stimmten in einer Probe mit gezeichneten Bildern
               *[no] alle { $n_names } Namen, die so sicher vergeben wurden wie { $concept }, stimmten in einer Probe mit gezeichneten Bildern
            }
        }
       *[some] { $alike ->
            [way] von { $n_names } Markierungen, die ebenso gefunden wurden, stimmten in einer Probe mit gezeichneten Bildern { $n_right }
           *[surety] { $again ->
                [yes] von { $n_names } ebenso sicher vergebenen Namen stimmten in einer Probe mit gezeichneten Bildern { $n_right }
               *[no] von { $n_names } Namen, die so sicher vergeben wurden wie { $concept }, stimmten in einer Probe mit gezeichneten Bildern { $n_right }
            }
        }
    }
names =
    { $maker ->
        [described] statt Namen stehen hier Beschreibungen von Messungen, als Namen wurden sie nicht geprüft
        [described_and_marks] statt Namen stehen hier Beschreibungen von Messungen; nur Markierungen sind benannt, und das ist geraten
        [offline] die Namen sind Vermutungen, die ein Programm zusammengestellt hat
        [llm] die Namen sind Vermutungen eines Sprachmodells
        [person] die Namen haben Menschen vergeben, auch sie sind Vermutungen
        [program] die Namen sind Vermutungen eines Programms
       *[several] die Namen sind Vermutungen von Menschen oder Programmen
    }
    .other =
    { $maker ->
        [described] die Konzepte haben keine Namen, sondern Beschreibungen von Messungen
        [described_and_marks] ein Programm hat beschrieben, was es gemessen hat, und benannt, was es für eine Markierung hielt; beides kann falsch sein
        [offline] ein Programm hat die Konzepte benannt, die Namen können falsch sein
        [llm] ein Sprachmodell hat die Konzepte benannt, die Namen können falsch sein
        [person] Menschen haben die Konzepte benannt, die Namen können falsch sein
        [program] ein Programm hat die Konzepte benannt, die Namen können falsch sein
       *[several] Menschen oder Programme haben die Konzepte benannt, die Namen können falsch sein
    }
method = Relevanz ist der Wert des Netzes, zurückverfolgt zu dem, was ihn getragen hat; was ohne ein Konzept geschähe, ist eine andere Frage
    .other = die Relevanz sagt, wie sich der Wert des Netzes verteilt, und nicht, was ohne ein Konzept geschähe
    .third = die Relevanz sagt, wie sich der Wert des Netzes verteilt; was ohne ein Konzept geschähe, ist eine andere Frage
