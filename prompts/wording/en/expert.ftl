# English, for a specialist. The shares stand in a table below the text: sentences do not repeat them.

less-than = < { $number }
more-than = > { $number }

decision =
    { $standing ->
        [first] { $classes ->
            [several] { $class } is the most probable class, at { $probability } (logit { $logit })
           *[exclusive] { $class } is predicted with a probability of { $probability } (logit { $logit })
        }
       *[other] { $class } is explained, at a probability of { $probability } (logit { $logit }); { $classes ->
            [several] the most probable class
           *[exclusive] predicted
        } is { $predicted }
    }
verdict =
    { $verdict ->
        [right] the label agrees
        [wrong] the label is { $label }
       *[missed] the label is { $class }
    }
runner_up =
    { $margin ->
        [above] { $runner_up } is ahead of it with { $probability }
        [close] { $runner_up } is close behind with { $probability }
       *[other] the runner-up is { $runner_up } with { $probability }
    }
doubt = the other classes together are more probable than { $class }
accuracy =
    { $band ->
        [highest] predictions at { $least } or more were right on { $n_right } of { $n_samples } labelled samples of the data set
        [lowest] predictions below { $below } were right on { $n_right } of { $n_samples } labelled samples of the data set
       *[middle] predictions between { $least } and { $below } were right on { $n_right } of { $n_samples } labelled samples of the data set
    }
negative_score = the logit is negative and relevance starts from it, so positive shares have the opposite sign to the score
mark_leads = the lead is named as a mark
lead = in { $layer }, the lead is { $concept }
dominance =
    { $known ->
        [yes] the lead alone outweighs all other channels of the layer
       *[no] the lead of { $layer } alone outweighs all its other channels
    }
coverage =
    { $n_concepts ->
        [one] the concept listed for { $layer } carries { $coverage }
       *[other] the { $n_concepts } concepts listed for { $layer } carry { $coverage }
    }{ $whole ->
        [yes] {" "}of the absolute relevance of its { $n_channels } { channels }
       *[no] {" "}of all absolute relevance at its depth
    }{ $rest ->
        [none] {""}
       *[some] { $n_others ->
            [one] ; { $n_others } other channel has { $rest_share }
           *[other] ; { $n_others } other channels have { $rest_share }
        }
    }
channels =
    { $n_channels ->
        [one] channel
       *[other] channels
    }
beside = { $beside } of the absolute relevance runs beside { $layer }
split =
    { $whole ->
        [yes] of the logit, { $sum } arrives at { $layer }
       *[no] of the logit, { $sum } passes { $layer } and { $beside_sum } runs beside it
    }; biases took up { $biases } and the stabiliser { $stabilisers }
concentration =
    { $k ->
        [one] { $known ->
            [yes] { $k } channel suffices for half of the relevance
           *[no] { $k } channel suffices for half of the relevance of { $layer }
        }
       *[other] { $known ->
            [yes] { $k } channels suffice for half of the relevance
           *[no] { $k } channels suffice for half of the relevance of { $layer }
        }
    }
balance =
    { $known ->
        [yes] over all channels, { $supporting } has the sign of the logit and { $opposing } the opposite one
       *[no] over all channels of { $layer }, { $supporting } has the sign of the logit and { $opposing } the opposite one
    }
layer_sum =
    { $known ->
        [yes] the signed relevance of the layer sums to { $sum }
       *[no] the signed relevance of { $layer } sums to { $sum }
    }
no_relevance = no relevance reaches { $layer }
no_opposition =
    { $known ->
        [yes] no concept listed has the opposite sign
       *[no] in { $layer }, no concept listed has the opposite sign
    }
no_support = in { $layer }, no concept listed has the sign of the logit
usual =
    { $level ->
        [same] as usual for the class are the shares of { $list }
        [more] { $side ->
            [against] unusually much against the class goes to { $list }
           *[for] unusually much for the class goes to { $list }
        }
       *[less] { $side ->
            [against] unusually little against the class goes to { $list }
           *[for] unusually little for the class goes to { $list }
        }
    }
usual-item =
    { $level ->
        [same] { $concept }
        [more] { $concept } (more than in { $n_less } of { $n_samples } samples)
       *[less] { $concept } (less than in { $n_more } of { $n_samples } samples)
    }
class_only = on average over each class’s samples, only { $class } gives a share worth mentioning to { $list }
class_only-item = { $concept }
other_class = on average over each class’s samples, { $other } gives a larger share to { $concept }: { $other_mean }
absent =
    { $here ->
        [none] the usual lead of the class, { $concept }, carries nothing here
        [little] the usual lead of the class, { $concept }, has next to no share here
        [less] the usual lead of the class, { $concept }, has here less than a quarter of its mean share
       *[against] the usual lead of the class, { $concept }, has the opposite sign here
    }
contrast = { $class } is set apart from { $runner_up } by { $list }
contrast-item = { $concept }
shared = { $runner_up } gets about the same share from { $list }
shared-item = { $concept }
namesakes =
    { $sum_told ->
        [yes] “{ $bare }” stands for { $n } channels
       *[no] “{ $bare }” stands for { $n } channels, which add up to { $sum }
    }
same_place =
    { $sum_told ->
        [yes] { $list } lie in the same place
       *[no] { $pair ->
            [yes] { $list } both lie { $place } and add up to { $sum }
           *[no] { $list } all lie { $place } and add up to { $sum }
        }
    }
mark =
    { $n ->
        [one] by its name, no part of the object but a mark: { $list }
       *[other] by their names, no parts of the object but marks: { $list }
    }
mark-item =
    { $evidence ->
        [class] { $concept } (with a share for this class alone: possibly a shortcut)
       *[name] { $concept }
    }
scene =
    { $n ->
        [one] by its name, no part of the object but its surroundings: { $list }
       *[other] by their names, no parts of the object but its surroundings: { $list }
    }
scene-item = { $concept }
mixed_name = the references form two groups, so that the name is uncertain, for { $list }
mixed_name-item = { $concept }
names =
    { $maker ->
        [described] what stands for names describes measurements on the references, and was not tested as names
        [described_and_marks] what stands for names describes measurements on the references, but for marks, which are hypotheses of the offline namer
        [offline] names are hypotheses of the offline namer, from measurements and labels of the references
        [llm] names are hypotheses of a language model that saw the references
        [person] names are hypotheses of people who saw the references
        [program] names are hypotheses of a program that was given the references
       *[several] names are hypotheses of several namers who saw the references
    }
method = shares say how the rules divided the logit, not what becomes of it where a concept is switched off

caption-concepts = concepts of { $layer } by absolute share
caption-below = what carried their relevance one layer down
column-concept = Concept
column-channel = Channel
column-share = Share
column-rival = For { $runner_up }
column-mean = Class mean
column-relevance = Relevance
column-activation = Activation
column-place = Place
column-area = Area
column-band = Names as sure, right
column-below = Through
column-layer = Layer
