# English, for every audience: names, places, classes, and how clauses are joined.
#
# How these files work is told in docs/wording.md. In short: one message for each kind of fact, written
# as a clause in the middle of a sentence (no capital, no full stop). Attributes (.other, .third …) are variants of the
# message; the program takes one or the other, so that texts do not all read alike. Never type a number.

# Words that a name may begin with and that are left out after "the".
articles = a an the

# A name or a class with one of these words could be read as part of the sentence, and so it stands in quotes.
joiners = and or but nor not so yet than because that which who is are was were has have

concept = the { $name }
# A second concept with the same name.
concept-again = another “{ $name }”
# A name with commas, brackets or other marks, and what only describes measurements.
concept-marked = the “{ $name }”
concept-marked-again = another “{ $name }”
concept-described = a channel described as “{ $name }”
concept-described-again = another channel described as “{ $name }”
# Its reference images fall into two groups.
concept-mixed = the { $name } or { $second }
concept-mixed-marked = the “{ $name }” or “{ $second }”
concept-unnamed = the unnamed channel { $channel }
concept-placed =
    { $whole ->
        [yes] { $concept }
       *[no] { $concept } { $place }
    }

class = { $name }
# The name of a class that holds commas, brackets or other marks.
class-marked = “{ $name }”

place-upper-left = in the upper left
place-upper-centre = at the top
place-upper-right = in the upper right
place-centre-left = on the left
place-centre = in the centre
place-centre-right = on the right
place-lower-left = in the lower left
place-lower-centre = at the bottom
place-lower-right = in the lower right
place-across-the-whole-image = across the whole photo

less-than = less than { $number }
more-than = more than { $number }

also = { $first }, and { $second }
but = { $first }, but { $second }
same = { $first }; { $second }

# In tables.
cell = { $name }
cell-mixed = { $name } or { $second }
cell-band = { $n_right } of { $n_names }
