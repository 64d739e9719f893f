"""English: the sentences of the generated narratives, and the words that the checks look for.

Owns wording only. Must not know tables or models. A name of a sentence with ``_one`` is for a single concept.
"""

from __future__ import annotations

from .language import Language, Lexicon, near

_EXPERT = {
    "expert_prediction": "The class explained is {class}: softmax probability {probability}, logit {logit}.",
    "expert_rival_below": "The runner-up is {runner_up} with {runner_up_probability}.",
    "expert_rival_above": "The network rates {runner_up} higher, with {runner_up_probability}.",
    "expert_negative": "The logit is negative, and relevance starts from it: negative shares add up to that score, "
    "positive ones offset it.",
    "expert_layer": "Layer {layer:$l} has {n_channels:$l} channels; the {n_concepts:$l} concepts listed here carry "
    "{coverage:$l} of its total absolute relevance.",
    "expert_layer_one": "Layer {layer:$l} has {n_channels:$l} channels; the concept listed here carries "
    "{coverage:$l} of its total absolute relevance.",
    "expert_layer_only": "Layer {layer:$l} has {n_channels:$l} channel, with {coverage:$l} of its total absolute "
    "relevance.",
    "expert_balance": "Over the whole layer {layer:$l}, {supporting:$l} of the absolute relevance has the sign of "
    "the logit and {opposing:$l} the opposite sign.",
    "expert_largest": "$subject has the largest share, {share:$c}$details.",
    "expert_supporting": "$subject supports the class with {share:$c}$details.",
    "expert_opposing": "$subject counts against the class with {share:$c}$details.",
    "expert_neutral": "$subject has a share of {share:$c}$details.",
    "expert_details": " (relevance {relevance:$c}, activation {activation:$c})",
    "expert_where": "; its heatmap lies {place:$c}, in a box that takes up {area:$c} of the photo",
    "expert_subject": "{name:$c} (channel {channel:$c})",
    "expert_sub_concepts": "Of the relevance that {name:$c} passed down to layer {layer:$s}, $items.",
    "expert_sub_item": "{name:$c} (channel {channel:$c}) received {share:$c}",
    "expert_sub_item_unnamed": "{name:$c} received {share:$c}",
    "expert_rival_shares": "For {runner_up}, the shares are: $items.",
    "expert_rival_item": "{name:$c} ({runner_up_share:$c})",
    "expert_conserved": "The relevance of {layer:$l} sums to {relevance_sum:$l}, equal to the logit at the printed "
    "precision.",
    "expert_sum": "The relevance of {layer:$l} sums to {relevance_sum:$l}, the logit is {logit}; biases, the "
    "numerical stabiliser and layers parallel to this one account for the difference.",
    "expert_rest": "The other {n_others:$l} channels of {layer:$l}, with {uncovered:$l} of its absolute relevance, "
    "are not described here.",
    "expert_rest_one": "The {n_others:$l} other channel of {layer:$l}, with {uncovered:$l} of its absolute relevance, "
    "is not described here.",
    "expert_confidence": "Confidence that the namer gave: $items.",
    "expert_confidence_item": "{name:$c} ({confidence:$c})",
    "expert_caveat": "Shares say how the propagation rules distributed the logit over the channels; they do not test "
    "what happens when a concept is removed.",
}

_STAKEHOLDER = {
    "plain_prediction": "The network gives this photo the class {class} with a probability of {probability}.",
    "plain_prediction_other": "This text explains the class {class}, to which the network gives a probability of "
    "{probability}.",
    "plain_rival_below": "The next class in line is {runner_up} with {runner_up_probability}.",
    "plain_rival_above": "The network rates {runner_up} higher, with {runner_up_probability}.",
    "plain_doubt": "Other classes together hold the greater part of the probability, so the class is in doubt.",
    "plain_sure": "The probability is the network's own figure; how often it proves correct has to be measured on "
    "many photos.",
    "plain_relevance": "To explain the score for {class}, it is traced back through the network and divided among "
    "its channels; what a channel receives is called its relevance.",
    "plain_negative": "The score for {class} is negative, so the signs below are compared with the score and do not "
    "tell what is for or against the class.",
    "plain_largest": "The concept with the largest share is {name:$c}$where: {magnitude:$c} of the relevance.",
    "plain_largest_supporting": "The concept with the largest share is {name:$c}$where: {magnitude:$c} of the "
    "relevance, in favour of {class}.",
    "plain_largest_opposing": "The concept with the largest share is {name:$c}$where: {magnitude:$c} of the "
    "relevance, and it speaks against {class}.",
    "plain_largest_same": "The concept with the largest share is {name:$c}$where: {magnitude:$c} of the relevance, "
    "with the sign of the score.",
    "plain_largest_opposite": "The concept with the largest share is {name:$c}$where: {magnitude:$c} of the "
    "relevance, opposite in sign to the score.",
    "plain_also_supporting": "Also in favour of {class}: $items.",
    "plain_supporting": "In favour of {class}: $items.",
    "plain_opposing": "Against {class}: $items.",
    "plain_also_opposing": "Also against {class}: $items.",
    "plain_same": "With the sign of the score: $items.",
    "plain_opposite": "Opposite in sign to the score: $items.",
    "plain_item": "{name:$c} ({magnitude:$c}$where)",
    "plain_where": ", {place:$c}",
    "plain_no_support": "None of the concepts shown speaks for {class}.",
    "plain_no_opposition": "None of the concepts shown speaks against {class}.",
    "plain_no_relevance": "None of the concepts shown carried any relevance.",
    "plain_dominance": "{name:$c} alone outweighs all other channels of its layer together.",
    "plain_coverage": "Together, the {n_concepts:$l} concepts shown carry {coverage:$l} of the relevance in their "
    "layer.",
    "plain_coverage_one": "The concept shown carries {coverage:$l} of the relevance in its layer.",
    "plain_rest": "The remaining {uncovered:$l} is in {n_carrying:$l} of the {n_others:$l} channels that this text "
    "leaves out.",
    "plain_rest_one": "The remaining {uncovered:$l} is in {n_others:$l} channel that this text leaves out.",
    "plain_other_layers": "The network has other layers as well; what this text says holds for {layer:$l}, and the "
    "text for experts goes through every layer that was explained.",
    "plain_rival_share": "For {runner_up}, the share of {name:$c} is {runner_up_share:$c}; for {class} it is "
    "{share:$c}.",
    "plain_caveat": "The shares say how the score was divided; they do not test what happens when something in the "
    "photo is changed.",
}

_NAMES = {
    "mark": "{name:$c} is named as a mark, something that does not belong to the object itself; it carried "
    "{magnitude:$c} of the relevance in its layer, which can point to a shortcut and is worth checking.",
    "names_offline": "The names were put together by a program from measurements of reference images and from their "
    "labels, without a language model and without a person; they are hypotheses, not facts.",
    "names_llm": "The names were given by a language model that was shown reference images; they are hypotheses, "
    "not facts.",
    "names_person": "The names were given by a person; they are hypotheses, not facts.",
    "names_some_offline": "Named by a program from measurements of reference images and from their labels, so "
    "hypotheses and not facts: $items.",
    "names_some_llm": "Named by a language model that was shown reference images, so hypotheses and not facts: $items.",
    "names_some_person": "Named by a person, so hypotheses and not facts: $items.",
    "names_mixed": "The reference images of {name:$c} fall into groups of different content, so its name is uncertain.",
    "name_item": "{name:$c}",
}

_NUMERALS = (
    r"zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|"
    r"nine)ty(?:-\w+)?|hundreds?|thousands?|millions?|billions?|dozens?",
    r"hal(?:f|ves)|halved|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|hundredths?",
    r"second|\w+teenth|\w+tieth|hundredth",
    r"once|twice|thrice|doubl(?:e|es|ed|ing)|tripl(?:e|es|ed)|quadrupl\w+|"
    r"(?:two|three|four|five|six|seven|eight|nine|ten|hundred|thousand)-?fold|couple|pair|single|sole",
    r"(?:rank|place|number|no\.?) i|i{2,3}|iv|vi{1,3}|ix|xi{0,3}v?|lion['\u2019]s share",
    r"per ?cent|percentages?|percentage points?",
    # "one" is often a pronoun; it is a numeral where something is counted or divided.
    r"one (?:in|out of|per|half|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|"
    r"concepts?|channels?|layers?|photos?|class|classes|part|time|point)",
    r"(?:only|just|exactly|number|rank|at least|at most|plus|minus) one",
)

ENGLISH = Language(
    code="en",
    quotes=("\u201c", "\u201d"),
    unnamed="channel {channel} of {layer} (unnamed)",
    mixed="{first} / {second} (mixed)",
    namesake="{name} of channel {channel}",
    list_end=" and ",
    place_phrases={
        "centre": "in the centre",
        "left": "on the left",
        "right": "on the right",
        "upper": "in the upper part",
        "lower": "in the lower part",
        "left upper": "in the upper left",
        "right upper": "in the upper right",
        "left lower": "in the lower left",
        "lower right": "in the lower right",
        "centre upper": "in the upper centre",
        "centre lower": "in the lower centre",
        "centre left": "left of the centre",
        "centre right": "right of the centre",
        "whole": "over the whole photo",
    },
    other_place="at the place {words}",
    sentences=_EXPERT | _STAKEHOLDER | _NAMES,
    lexicon=Lexicon(
        numerals=_NUMERALS,
        quantities=(
            r"majority|minority|most of|much of|many of|the bulk|mostly|mainly|largely|predominantly|entirely|wholly|"
            r"completely|solely|exclusively|purely",
            r"(?:nearly|almost|practically|virtually) (?:all|every|everything|no|none|nothing)",
            r"all (?:the )?(?:concepts|channels|relevance)|(?:every|each|no|any) (?:concept|channel)|everything|"
            r"nothing|none|no other|no concepts?|the (?:concept|channel|part) (?:that|which|of)|by itself|"
            r"on its own|as do(?:es)?(?= \u25a1)|only(?= \u25a1| one| the concept| concept| channel)|"
            r"negligibl[ey]|overwhelming(?:ly)?|"
            r"hardly any|a fraction|a great deal|a lot|huge|enormous|massive|immense|vast|tiny|minuscule|"
            r"(?:nearly|almost) as",
        ),
        bounds=(
            r"more than|less than|fewer than|over|under|above|below|at least|at most|up to|nearly|almost|"
            r"just short of|"
            r"no more than|no less than|beyond|times|exceeding|minus|plus",
        ),
        superlatives=(
            r"strongest|largest|biggest|greatest|highest|foremost|heaviest|topmost|"
            r"top(?! left| right| half| part| edge| corner| of the)|leading|dominant|dominates?|"
            r"dominating|principal|primary|main|chief|paramount|prime|first|above all|ahead of (?:all|every)",
            r"(?<!next )most(?! of\b| probable\b)",
            r"tops|unrivall?ed|unmatched|unsurpassed|unequall?ed|unparalleled|wins?|winner|winning|stands? out",
        ),
        lowest=(
            r"weakest|smallest|lowest|least(?<!at least)|slightest|faintest|last|minor|secondary|runner-up concept",
        ),
        more=(
            r"(?:more|stronger|larger|bigger|greater|higher|heavier)\b.*?\bthan",
            r"outweighs?|exceeds?|surpass(?:es)?|outranks?|ahead of|beats?|overshadows?|dwarfs?|eclipses?|precedes?|"
            r"comes? before|(?:is|are) followed by|(?:rated|ranked|ranks?) above|compared (?:with|to) \u25a1",
        ),
        less=(
            r"(?:less|fewer|weaker|smaller|lower|lighter)\b.*?\bthan",
            r"falls? short of|trails?|lags? behind|behind|loses? to|(?:is|are) (?:beaten|dwarfed|overshadowed|"
            r"eclipsed|preceded) by|comes? after|(?:rated|ranked|ranks?) below",
        ),
        other_measures=(r"areas?|regions?|box|boxes|patch|sizes?|confidence|activations?|activat\w+",),
        equal=(
            r"as (?:much|strong|strongly|large|big|high|relevant) as|equal(?:s|ly)?|"
            r"(?:the )?same (?:share|amount|probability|relevance|score|value|as)|on a par|ties?",
        ),
        supporting=(
            r"support(?:s|ed|ing|ive)?|(?:is|are|was|were) for \u25a1|"
            r"speak(?:s|ing)? for|spoke for|in favou?r of|favou?r(?:s|ed|ing)|"
            r"positive(?:ly)?|"
            r"point(?:s|ed|ing)? to(?:wards?)? (?:\u25a1|the class|this class)|count(?:s|ed|ing)? for|"
            r"argu(?:e|es|ed|ing) for|back(?:s|ed|ing)|"
            r"strengthen(?:s|ed|ing)?|contribut(?:e|es|ed|ing|ions?)|evidence (?:for|of)|boost(?:s|ed|ing)?|"
            r"rais(?:e|es|ed|ing)|increas(?:e|es|ed|ing)|confirm(?:s|ed|ing)?|add(?:s|ed|ing)? to|pro|"
            r"help(?:s|ed|ing)?|aid(?:s|ed|ing)?|in its favou?r|evidence that|typical (?:of|for)|consistent with|"
            r"(?:suggest|indicat|promot)(?:e|es|s|ed|ing)? (?:\u25a1|the class|this class)|hint(?:s|ed|ing)? at",
            r"(?:with|has|have) the sign of the (?:logit|score)",
        ),
        opposing=(
            r"against|oppos(?:e|es|ed|ing|ition)|negative(?:ly)?|weaken(?:s|ed|ing)?|"
            r"lower(?:s|ed|ing)(?! left| right)|"
            r"reduc(?:e|es|ed|ing)|decreas(?:e|es|ed|ing)|contradict(?:s|ed|ing|ion)?|counter(?:s|ed|ing)?|"
            r"detract(?:s|ed|ing)?|inhibit(?:s|ed|ing|ory)?|suppress(?:es|ed|ing)?|undermin(?:e|es|ed|ing)|"
            r"disfavou?r(?:s|ed|ing)?|pull(?:s|ed)? away from|subtract(?:s|ed|ing)?|contra|refut(?:e|es|ed|ing)|"
            r"hurt(?:s|ing)?|harm(?:s|ed|ing)?|hinder(?:s|ed|ing)?|at odds with|conflict(?:s|ed|ing)? with",
            r"opposite in sign to the (?:logit|score)|(?:has|have|with) the opposite sign",
        ),
        negations=(
            r"not|never|no|none|nothing|neither|nor|cannot|hardly|barely|fails? to|\w+n['\u2019]t|un(?:supportive)",
        ),
        places={
            r"left(?! out\b| over\b)": "left",
            r"leftmost|left-hand": "left",
            r"right|rightmost|right-hand": "right",
            r"upper|uppermost|upwards?": "upper",
            r"top (?=left|right|half|part|edge|corner|of\b)": "upper",
            r"at the top|up high": "upper",
            r"lower (?=left|right|half|part|edge|corner|centre|center)": "lower",
            r"bottom|lowermost|low down": "lower",
            r"centre|center|central|middle|centred|centered": "centre",
            r"whole photo|whole image|whole picture|everywhere": "whole",
            r"background|foreground|corners?|edges?|borders?|sides?|beside|behind|beneath|underneath|in front of|"
            r"next to|near the|around the|north|south|east|west|outside|foot of the|opposite \u25a1": "",
        },
        causes=(
            r"because|caus(?:e|es|ed|ing|al|ally)|due to|owing to|thanks to|thereby|"
            r"le(?:d|ads?|ading) (?:\S+ ){0,3}to|results? in|resulted in|resulting in|as a result|consequent(?:ly)?|"
            r"mak(?:e|es|ing) (?:the |this )?(?:network|model|prediction|class|it)|"
            r"made (?:the |this )?(?:network|model|prediction|class|it)",
            r"dr(?:ive|ives|ove|iven|iving)|trigger(?:s|ed|ing)?|prompt(?:s|ed|ing)|forc(?:e|es|ed|ing)|"
            r"enabl(?:e|es|ed|ing)|determin(?:e|es|ed|ing)|decisive(?:ly)?|responsible|reasons?|why|therefore|hence|"
            r"thus|so that|since|effects?|affect(?:s|ed|ing)?|influenc(?:e|es|ed|ing)|impact(?:s|ed|ing)?",
            r"would|could have|might have|had (?:it|this|that|the)|were (?:it|this) not|"
            r"if (?:\S+ ){0,4}(?:were|was|had)|"
            r"without (?:it|this|that|them|these|those|the|\u25a1)|absent",
            r"essential|necessary|crucial|required|requires?|needed|needs?|sufficient|pivotal|key|vital|"
            r"depend(?:s|ed|ing)?|rel(?:y|ies|ied|iance)|based on|rests? on|hing(?:e|es|ed) on|produc(?:e|es|ed|ing)|"
            r"explains? (?:why|the (?:prediction|decision))|justif(?:y|ies|ied)|prov(?:e|es|ed|ing) that",
            r"br(?:ing|ings|ought|inging) about|g(?:ive|ives|ave|iving) rise to|tips? the|steer(?:s|ed|ing)?|"
            r"push(?:es|ed|ing)?|guid(?:es|ed|ing)|shap(?:es|ed|ing) the|yield(?:s|ed|ing)?|underl(?:ie|ies|ay|ying)|"
            r"(?:prediction|decision|result|outcome|score|class|\u25a1) (?:comes?|came|stems?|stemmed|arises?|arose|"
            r"results?|resulted) from|removing|ensur(?:e|es|ed|ing)|mak(?:e|es|ing) \u25a1|what makes|indispensable|"
            r"account(?:s|ed|ing)? for the (?:prediction|decision|result|outcome|score|class)|"
            r"behind the (?:prediction|decision|result|outcome|score)",
        ),
        minds=(
            r"think(?:s|ing)?|thought|believ(?:e|es|ed|ing)|knows?|knew|understand(?:s|ing)?|understood|"
            r"sees|can see|saw|"
            r"recogni[sz](?:e|es|ed|ing)|want(?:s|ed)?|decid(?:e|es|ed|ing)|concludes?|concluded|"
            r"notic(?:e|es|ed|ing)|"
            r"look(?:s|ed|ing)? (?:at|for)|realis(?:e|es|ed)|realiz(?:e|es|ed)|reason(?:s|ed|ing)|confus(?:e|es|ed)|"
            r"mistakes?|mistook|interprets?|interpreted|attention|attends?|pa(?:ys|id) attention|learn(?:s|ed|t)|"
            r"identif(?:y|ies|ied)|guessed|guessing|is (?:sure|certain|convinced|confident)",
        ),
        certainties=(
            r"(?:not|no) (?:a )?guess(?:es)?|no other class|no alternative|"
            r"names (?:were|are) (?:given|read)(?! by a (?:language|person))|no doubt|without doubt|beyond doubt|"
            r"undoubtedly|doubtless|certainly|definitely|"
            r"(?:\u25a1|class|prediction|network) is (?:in fact |indeed |not )?"
            r"(?:correct|right|true|wrong|certain|false)|"
            r"(?:photo|image|picture) (?:shows|contains|depicts)",
        ),
        assertions=(
            r"(?:this|it|that|there|here|which|photo|image|picture|\u25a1) (?:is|are|was|were|has|carries|holds) "
            r"(?:an? |the |of |of the )?\u25a1",
        ),
        measures={
            near(r"probabilit(?:y|ies)"): ("probability", "runner_up_probability"),
            near(r"logit"): ("logit", "relevance_sum"),
            near(r"score"): ("logit", "relevance_sum"),
            near(r"shares?(?! in)"): ("share", "magnitude", "runner_up_share"),
            near(r"confidence"): ("confidence",),
            near(r"activation"): ("activation",),
            r"\u25a1(?: of)?(?: the| its| other)* channels?": ("n_channels", "n_others", "n_carrying"),
            r"\u25a1(?: of)?(?: the| its| other)* "
            r"(?:layers?|images?|classes|sub-?concepts?|box|area|places?|names?|network)": ("area",),
            r"\u25a1(?: of)?(?: the| its| other| listed| shown)* concepts": ("n_concepts",),
            r"cover \u25a1 of the (?:area|photo)": ("area",),
            r"activations?(?: of| is|:)? \u25a1": ("activation",),
            r"relevance(?: is|:)? \u25a1": ("relevance", "relevance_sum", "share", "magnitude", "coverage"),
            r"(?:confidence|confident)(?: (?:of|in) \u25a1)?(?: of| is| at|:)? \u25a1": ("confidence",),
            r"\u25a1 of the (?:photo|image|picture)": ("area",),
            r"\u25a1 of the layer": ("share", "magnitude", "coverage", "uncovered"),
            r"\u25a1 of the (?:probability|score|logit)": (),
            r"\u25a1 of the relevance": ("share", "magnitude", "coverage", "uncovered", "supporting", "opposing"),
            r"(?:left out|not shown|not described)(?: (?!and|und)\w+){0,2} \u25a1": (
                "uncovered",
                "n_others",
                "n_carrying",
            ),
            r"concepts (?:shown|listed|told)(?: here)? (?:carry|have|hold|cover) \u25a1": ("coverage",),
        },
        class_words=(r"class",),
        mark_words=(r"marks?|belongs? to the object",),
        photo_words=(r"photos?|images?|pictures?",),
        function_words=frozenset(
            ["the", "of", "and", "is", "in", "with", "for", "that", "this", "are", "to", "it", "by", "its", "carries"]
        ),
    ),
)
