# Deutsch, für alle: Namen, Orte, Klassen, und wie Satzteile verbunden werden. Hinweise: ../en/common.ftl.
#
# Namen und Klassen stehen in Anführungszeichen, denn sie lassen sich nicht beugen und sind oft englisch.

# Namen werden wörtlich zitiert, mit ihrem Artikel, wenn sie einen haben.
articles = {""}

concept = „{ $name }“
concept-again = noch einmal „{ $name }“
# A name with commas, brackets or other marks, and what only describes measurements.
concept-marked = „{ $name }“
concept-marked-again = noch einmal „{ $name }“
concept-described = „{ $name }“
concept-described-again = noch einmal „{ $name }“
concept-mixed = „{ $name }“ oder „{ $second }“
concept-mixed-marked = „{ $name }“ oder „{ $second }“
concept-unnamed = Kanal { $channel } ohne Namen
concept-placed =
    { $whole ->
        [yes] { $concept }
       *[no] { $concept } { $place }
    }

class = „{ $name }“
class-marked = „{ $name }“

place-upper-left = links oben
place-upper-centre = oben
place-upper-right = rechts oben
place-centre-left = links
place-centre = in der Mitte
place-centre-right = rechts
place-lower-left = links unten
place-lower-centre = unten
place-lower-right = rechts unten
place-across-the-whole-image = über das ganze Foto verteilt

less-than = weniger als { $number }
more-than = mehr als { $number }

also = { $first }, und { $second }
but = { $first }, aber { $second }
same = { $first }; { $second }

# In Tabellen.
cell = { $name }
cell-mixed = { $name } oder { $second }
cell-band = { $n_right } von { $n_names }
