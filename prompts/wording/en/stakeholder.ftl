# English, for somebody who has to answer for the network's use and knows nothing of networks.

decision =
    { $classes ->
        [several] { decision-several }
       *[exclusive] { $standing ->
            [first] the network says { $class }, with a probability of { $probability }
           *[other] the network says { $predicted }; this text is about { $class }, to which it gives a probability of { $probability }
        }
    }
    .other =
    { $classes ->
        [several] { decision-several }
       *[exclusive] { $standing ->
            [first] the network’s answer is { $class }, with a probability of { $probability }
           *[other] the network’s answer is { $predicted }; this text is about { $class }, with a probability of { $probability }
        }
    }
    .third =
    { $classes ->
        [several] { decision-several }
       *[exclusive] { $standing ->
            [first] with a probability of { $probability }, the network says { $class }
           *[other] with a probability of { $probability }, { $class } comes behind the network’s answer, { $predicted }
        }
    }
# Where a photo can have several classes at once.
decision-several =
    { $standing ->
        [first] most probable to the network is { $class }, with { $probability }
       *[other] to { $class }, which this text is about, the network gives a probability of { $probability }; most probable to it is { $predicted }
    }
verdict =
    { $verdict ->
        [right] the label agrees
        [wrong] the label says { $label }
       *[missed] { $class } is the label
    }
    .other =
    { $verdict ->
        [right] the label says { $class } too
        [wrong] the photo is labelled { $label }
       *[missed] { $class } is the label
    }
runner_up =
    { $margin ->
        [above] { $runner_up } is more probable, with { $probability }
        [close] { $runner_up } is nearly as probable, with { $probability }
        [far] the next class, { $runner_up }, is far behind, with a probability of { $probability }
       *[some] the next class is { $runner_up }, with a probability of { $probability }
    }
doubt = all other classes together are more probable than { $class }
accuracy =
    { $band ->
        [highest] when it was this sure ({ $least } or more), it was right on { $n_right } of { $n_samples } labelled photos of this data set
        [lowest] when it was no surer than here (below { $below }), it was right on { $n_right } of { $n_samples } labelled photos of this data set
       *[middle] when it was about as sure as here ({ $least } to { $below }), it was right on { $n_right } of { $n_samples } labelled photos of this data set
    }
negative_score = the score for { $class } is negative: what follows says which concepts have its sign, not what speaks for or against the class

mark_leads = what counts most is by its name a mark, not the object
lead =
    { $share_told ->
        [yes] { lead-told }
       *[no] { $score ->
            [negative] { $side ->
                [for] the largest share of the relevance, { $share }, has the sign of the score and goes to { $spot }
               *[against] the largest share of the relevance, { $share }, has the opposite sign and goes to { $spot }
            }
           *[positive] { $side ->
                [for] the largest share of the relevance, { $share }, goes to { $spot }
               *[against] the largest share of the relevance, { $share }, speaks against { $class }: { $spot }
            }
        }
    }
    .other =
    { $share_told ->
        [yes] { lead-told }
       *[no] { $score ->
            [negative] { $side ->
                [for] { $share } of the relevance, more than to any other concept and with the sign of the score, goes to { $spot }
               *[against] { $share } of the relevance, more than to any other concept and with the opposite sign, goes to { $spot }
            }
           *[positive] { $side ->
                [for] { $share } of the relevance, more than to any other concept, goes to { $spot }
               *[against] { $share } of the relevance, the largest share of all, speaks against { $class }: { $spot }
            }
        }
    }
    .third =
    { $share_told ->
        [yes] { lead-told }
       *[no] { $score ->
            [negative] { $side ->
                [for] first place goes to { $spot }, with { $share } of the relevance and the sign of the score
               *[against] first place goes to { $spot }, with { $share } of the relevance and the opposite sign
            }
           *[positive] { $side ->
                [for] first place goes to { $spot }, with { $share } of the relevance
               *[against] first place goes to something that speaks against { $class }: { $spot }, with { $share } of the relevance
            }
        }
    }
# The same after another sentence told the share.
lead-told =
    { $score ->
        [negative] { $side ->
            [for] no share of the relevance is larger than that of { $concept }, which has the sign of the score
           *[against] no share of the relevance is larger than that of { $concept }, which has the opposite sign
        }
       *[positive] { $side ->
            [for] { $again ->
                [yes] no other share of the relevance is as large
               *[no] the largest share of the relevance is that of { $spot }
            }
           *[against] { $again ->
                [yes] this is the largest share of all, and it speaks against { $class }
               *[no] the largest share of all, that of { $spot }, speaks against { $class }
            }
        }
    }
dominance =
    { $again ->
        [yes] this is more than all the rest together
       *[no] more than half of the relevance goes to { $concept }
    }
supports-item =
    { $share_told ->
        [yes] { $spot }
       *[no] { $spot } ({ $share })
    }
supports =
    { $score ->
        [negative] the sign of the score is also found at { $list }
       *[positive] { $also ->
            [yes] { $class } is also supported by { $list }
           *[no] { $class } is supported by { $list }
        }
    }
    .other =
    { $score ->
        [negative] with the sign of the score, there is also relevance at { $list }
       *[positive] { $also ->
            [yes] further support comes from { $list }
           *[no] support comes from { $list }
        }
    }
    .third =
    { $score ->
        [negative] relevance with the sign of the score also goes to { $list }
       *[positive] { $also ->
            [yes] relevance for { $class } also goes to { $list }
           *[no] relevance for { $class } goes to { $list }
        }
    }
opposes-item =
    { $share_told ->
        [yes] { $spot }
       *[no] { $spot } ({ $share })
    }
opposes =
    { $score ->
        [negative] the opposite sign is found at { $list }
       *[positive] { $level ->
            [slight] a little relevance against { $class } goes to { $list }
           *[plain] relevance against { $class } goes to { $list }
        }
    }
    .other =
    { $score ->
        [negative] relevance with the opposite sign goes to { $list }
       *[positive] { $level ->
            [slight] there is a little relevance against { $class }, at { $list }
           *[plain] there is relevance against { $class }, at { $list }
        }
    }
no_opposition = none of the concepts shown speaks against { $class }
no_support = none of the concepts shown speaks for { $class }
no_relevance = no relevance reaches the layer explained, so that no concept can be told
namesakes =
    { $sum_told ->
        [yes] “{ $bare }” stands for { $n } separate channels
       *[no] { $score ->
        [negative] “{ $bare }” stands for { $n } separate channels, which carry { $sum } of the relevance together
       *[positive] “{ $bare }” stands for { $n } separate channels; together { $sum } of the relevance at them speaks { $side ->
            [for] for
           *[against] against
        } { $class }
    }
    }
same_place =
    { $sum_told ->
        [yes] { $list } lie in the same part of the photo
       *[no] { $pair ->
            [yes] { $list } both lie { $place }, with { $sum } of the relevance together
           *[no] { $list } all lie { $place }, with { $sum } of the relevance together
        }
    }

usual =
    { $level ->
        [same] { $mean_told ->
            [yes] the share of { $concept } is as usual for { $class }
           *[no] { $again ->
                [yes] this is about the average for { $class } in this data set, { $mean }
               *[no] the share of { $concept } is as usual for { $class }, where the average is { $mean }
            }
        }
        [more] { $again ->
            [yes] { $part ->
                [all] this is more than in all { $n_samples } { usual-photos }
               *[most] this is more than in { $n_less } of the { $n_samples } { usual-photos }
            }
           *[no] { $side ->
                [for] the share of { $concept } is larger than in { $n_less } of the { $n_samples } { usual-photos }
               *[against] the share of { $concept } against { $class } is larger than in { $n_less } of the { $n_samples } { usual-photos }
            }
        }{ $mean_told ->
            [yes] {""}
           *[no] { $average ->
                [some] , where the average is { $mean }
                [little] , where it usually counts for next to nothing
               *[opposite] , where it is { $mean } on the other side on average
            }
        }
       *[less] { $again ->
            [yes] { $part ->
                [all] this is less than in all { $n_samples } { usual-photos }
               *[most] this is less than in { $n_more } of the { $n_samples } { usual-photos }
            }
           *[no] { $side ->
                [for] the share of { $concept } is smaller than in { $n_more } of the { $n_samples } { usual-photos }
               *[against] the share of { $concept } against { $class } is smaller than in { $n_more } of the { $n_samples } { usual-photos }
            }
        }{ $mean_told ->
            [yes] {""}
           *[no] , where the average is { $mean }
        }
    }
# Whose labels are not known, or not counted, are the photos that the network takes for the class.
usual-photos =
    { $photos ->
        [labelled] photos of { $class } in this data set
       *[taken] photos of this data set that the network takes for { $class }
    }
class_only =
    { $again ->
        [yes] no other class gives it a share worth mentioning on average
       *[no] on average, no class but { $class } gives { $concept } a share worth mentioning
    }
other_class =
    { $average ->
        [some] { $mean_told ->
            [yes] for { $other } the average is higher, { $other_mean }
           *[no] { $again ->
            [yes] on average it counts more for { $other } ({ $other_mean }) than for { $class } ({ $mean })
           *[no] on average, { $other } gets more from { $concept } ({ $other_mean }) than { $class } does ({ $mean })
        }
        }
       *[other] { $again ->
            [yes] on average it counts for { $other } ({ $other_mean }) and not for { $class }
           *[no] on average, { $other } gets { $other_mean } from { $concept }, and { $class } nothing worth mentioning
        }
    }
absent =
    { $here ->
        [none] missing here is what usually leads for { $class }: { $concept }{ $mean_told ->
            [yes] , with nothing in this photo
           *[no] , with { $mean } on average and nothing in this photo
        }
        [little] nearly missing here is what usually leads for { $class }: { $concept }{ absent-shares }
        [less] much weaker here than usual is what leads for { $class } on average: { $concept }{ absent-shares }
       *[against] turned around here is what usually leads for { $class }: { $concept }{ $share_told ->
            [yes] { $mean_told ->
                [yes] {""}
               *[no] , with { $mean } for it on average
            }
           *[no] { $mean_told ->
                [yes] , with { $share } against it in this photo
               *[no] , with { $mean } for it on average and { $share } against it in this photo
            }
        }
    }
absent-shares =
    { $share_told ->
        [yes] { $mean_told ->
            [yes] {""}
           *[no] , with { $mean } on average
        }
       *[no] { $mean_told ->
            [yes] , with { $share } in this photo
           *[no] , with { $mean } on average and { $share } in this photo
        }
    }
contrast =
    { $share_told ->
        [yes] { $rival_side ->
            [for] one difference from { $runner_up } lies in { $concept }, with { $rival_share } for that class
            [against] one difference from { $runner_up } lies in { $concept }, with { $rival_share } against that class
           *[none] one difference from { $runner_up } lies in { $concept }, with nothing for that class
        }
       *[no] { $rival_side ->
            [for] one difference from { $runner_up } lies in { $concept }, with { $share } for { $class } and { $rival_share } for { $runner_up }
            [against] one difference from { $runner_up } lies in { $concept }, with { $share } for { $class } and { $rival_share } against { $runner_up }
           *[none] one difference from { $runner_up } lies in { $concept }, with { $share } for { $class } and nothing for { $runner_up }
        }
    }
shared = { $runner_up } gets about as much from { $concept }: { $rival_share }

coverage =
    { $n_concepts ->
        [one] the strongest concept carries { $coverage } of the relevance
       *[other] the { $n_concepts } strongest concepts carry { $coverage } of the relevance
    }{ coverage-rest }
    .other =
    { $n_concepts ->
        [one] in all, the strongest concept has { $coverage } of the relevance
       *[other] in all, the { $n_concepts } strongest concepts have { $coverage } of the relevance
    }{ coverage-rest }
    .third =
    { $n_concepts ->
        [one] of all relevance, { $coverage } lies with the strongest concept
       *[other] of all relevance, { $coverage } lies with the { $n_concepts } strongest concepts
    }{ coverage-rest-with }
coverage-rest =
    { $rest ->
        [none] {""}
       *[some] { $whole ->
            [yes] { $n_others ->
                [one] , { $n_others } other channel the rest
               *[other] , { $n_others } others the rest
            }
           *[no] { $n_others ->
                [one] , { $n_others } other channel { $rest_share }
               *[other] , { $n_others } others { $rest_share }
            }
        }
    }
coverage-rest-with =
    { $rest ->
        [none] {""}
       *[some] { $whole ->
            [yes] { $n_others ->
                [one] , the rest with { $n_others } other channel
               *[other] , the rest with { $n_others } others
            }
           *[no] { $n_others ->
                [one] , { $rest_share } with { $n_others } other channel
               *[other] , { $rest_share } with { $n_others } others
            }
        }
    }
beside = { $beside } of the relevance runs beside this layer
concentration =
    { $k ->
        [one] { $k } of { $n_channels } channels is enough for half of the relevance
       *[other] { $k } of { $n_channels } channels are enough for half of the relevance
    }
other_layers = all shares are of { $layer }, one of { $n_layers } layers explained

mark =
    { $again ->
        [yes] by its name it is a mark, no part of the object{ mark-evidence }
       *[no] { $share_told ->
            [yes] the name of { $concept } tells of a mark, no part of the object{ mark-evidence }
           *[no] { $side ->
                [against] { $share } of the relevance, on the other side, goes to { $concept }, by name a mark and no part of the object{ mark-evidence }
               *[other] { $share } of the relevance goes to { $concept }, by name a mark and no part of the object{ mark-evidence }
            }
        }
    }
# Whether more than a name speaks for a shortcut: a share for this class alone.
mark-evidence =
    { $evidence ->
        [class] : possibly a shortcut, and worth checking
       *[name] ; that is a guess, and worth checking
    }
scene =
    { $again ->
        [yes] by its name this is the surroundings and not the object
       *[no] the name of { $concept } tells of the surroundings and not of the object
    }
mixed_name =
    { $again ->
        [yes] its name is uncertain, for the images behind it fall into two groups
       *[no] the images behind { $concept } fall into two groups, so that its name is uncertain
    }
name_band =
    { $right ->
        [all] { $alike ->
            [way] all { $n_names } marks found in the same way were right in a test on drawn pictures
           *[surety] { $again ->
                [yes] all { $n_names } names given as confidently as this one were right in a test on drawn pictures
               *[no] all { $n_names } names given as confidently as that of { $concept } were right in a test on drawn pictures
            }
        }
       *[some] { $alike ->
            [way] of { $n_names } marks found in the same way, { $n_right } were right in a test on drawn pictures
           *[surety] { $again ->
                [yes] of { $n_names } names given as confidently as this one, { $n_right } were right in a test on drawn pictures
               *[no] of { $n_names } names given as confidently as that of { $concept }, { $n_right } were right in a test on drawn pictures
            }
        }
    }
names =
    { $maker ->
        [described] what stands for names describes measurements, and was not tested as names
        [described_and_marks] what stands for names describes measurements; only marks are named, and that is a guess
        [offline] the names are guesses, put together by a program
        [llm] the names are guesses by a language model
        [person] the names were given by people, and are guesses too
        [program] the names are guesses by a program
       *[several] the names are guesses by people or programs
    }
    .other =
    { $maker ->
        [described] instead of names, there are descriptions of measurements here
        [described_and_marks] a program described what it measured, and named what it took for a mark; both may be wrong
        [offline] a program put the names together; they may be wrong
        [llm] a language model gave the names; they may be wrong
        [person] people gave the names; they may be wrong
        [program] a program gave the names; they may be wrong
       *[several] people or programs gave the names; they may be wrong
    }
method = relevance is the network’s score, traced back to what carried it; what would happen without a concept is another question
    .other = relevance says how the network’s score was divided, not what would happen without a concept
    .third = relevance says how the network’s score was divided; what would happen without a concept is another question
