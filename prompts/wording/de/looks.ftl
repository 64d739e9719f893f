# Deutsch: was das Programm ohne Sprachmodell an den Bildern misst, als Beschreibung mitten im Satz.
#
# Eine Sprache ohne diese Datei bekommt die englischen Beschreibungen. "form" ist, wie sich eine Farbe nach der
# Gestalt richtet: m, f oder p (Mehrzahl).

look = { $colours } { $shape } { $place }
no-look = ohne gemeinsames Aussehen
mostly = { $phrase }, meist bei { $classes }

mark = kleines Zeichen { $place }
mark-place-corner = in einer Ecke
mark-place-upper-left = { place-upper-left }
mark-place-upper-centre = { place-upper-centre }
mark-place-upper-right = { place-upper-right }
mark-place-centre-left = { place-centre-left }
mark-place-centre = { place-centre }
mark-place-centre-right = { place-centre-right }
mark-place-lower-left = { place-lower-left }
mark-place-lower-centre = { place-lower-centre }
mark-place-lower-right = { place-lower-right }

shape-area = Fläche
form-area = f
shape-round-spot = runder Fleck
form-round-spot = m
shape-rays-from-a-centre = Strahlen aus einer Mitte
form-rays-from-a-centre = p
shape-horizontal-edges = waagerechte Kanten
form-horizontal-edges = p
shape-vertical-edges = senkrechte Kanten
form-vertical-edges = p
shape-diagonal-edges = diagonale Kanten
form-diagonal-edges = p
shape-parallel-edges = parallele Kanten
form-parallel-edges = p
shape-upright-and-level-edges = senkrechte und waagerechte Kanten
form-upright-and-level-edges = p
shape-slanted-edges = schräge Kanten
form-slanted-edges = p
shape-fine-grained-texture = feinkörnige Textur
form-fine-grained-texture = f
shape-smooth-area = glatte Fläche
form-smooth-area = f
shape-bright-area = helle Fläche
form-bright-area = f
shape-dark-area = dunkle Fläche
form-dark-area = f

colour-black =
    { $form ->
        [m] schwarzer
       *[f] schwarze
    }
colour-grey =
    { $form ->
        [m] grauer
       *[f] graue
    }
colour-white =
    { $form ->
        [m] weißer
       *[f] weiße
    }
colour-red =
    { $form ->
        [m] roter
       *[f] rote
    }
colour-brown =
    { $form ->
        [m] brauner
       *[f] braune
    }
colour-yellow =
    { $form ->
        [m] gelber
       *[f] gelbe
    }
colour-green =
    { $form ->
        [m] grüner
       *[f] grüne
    }
colour-blue =
    { $form ->
        [m] blauer
       *[f] blaue
    }
colour-purple =
    { $form ->
        [m] violetter
       *[f] violette
    }
colour-orange =
    { $form ->
        [m] orangefarbener
       *[f] orangefarbene
    }
colour-pink =
    { $form ->
        [m] rosafarbener
       *[f] rosafarbene
    }
