"""Scripts of plays as their speeches."""

from plays import MARKDOWN, NEW, OLD, roles_of


def test_markdown():
    assert roles_of(MARKDOWN) == {
        "The Storm: KIM": [
            "Who's there?",
            "I see two sails.",
            "Not mine,'--alas.",
            "The speech goes on",
            "without a new role.",
            "Ho!",
            "O!",
            "Farewell.",
        ],
        "The Storm: KIM & LEE": ["We."],
        "The Storm: LEE": ["Here, and here.", "BACK"],
        "The Storm: OF YORK": ["Et tu, sailor?", "Amen."],
    }


def test_markdown_without_a_title():
    untitled = MARKDOWN.removeprefix("# The Storm\n")
    assert set(roles_of(untitled, "By File")) == {
        key.replace("The Storm", "By File") for key in roles_of(MARKDOWN)
    }


def test_gutenberg_of_1994():
    assert roles_of(OLD) == {
        "KING RICHARD III: CLAR": [
            "His Majesty,",
            "tend'ring.",
            "EDWARD, my lord, thy son, our king, is dead.",
            "Amen.",
        ],
        "KING RICHARD III: GLOUCESTER": [
            "Now is the winter of our discontent",
            "Made glorious summer by this sun of York;",
            "Retreat is sounded in this line of speech.",
            "You do him injury to scorn his corse.",
            "Brother, good day. And make me die.",
            "Again.",
        ],
        "KING RICHARD III: RIVERS": ["Why with some little train?"],
        "THE COMEDY OF ERRORS: AEGEON": [
            "Proceed, Solinus, to procure my fall,",
            "And by the doom of death end woes and all.",
        ],
        "THE COMEDY OF ERRORS: DUKE": [
            "Merchant of Syracuse, plead no more;",
            "Alas! Too. soon",
            "We came aboard.",
        ],
    }


def test_gutenberg_of_today():
    hamlet = "THE TRAGEDY OF HAMLET, PRINCE OF DENMARK"
    assert roles_of(NEW) == {
        "ALL'S WELL THAT ENDS WELL: COUNTESS": ["In delivering my son from me."],
        f"{hamlet}: ALL": ["Long live the King!", "King.", "No role."],
        f"{hamlet}: FIRST PLAYER": ["Anon he finds him,", "As hush as death."],
        f"{hamlet}: HAMLET": [
            "A little more than kin, and less than kind.",
            "Tragical, scene individable, or poem unlimited.",
            "THE END.",
            "Dost thou hear me? Can you play The Murder of Gonzago?",
            "Alarum\u2019d by his sentinel, the wolf.",
            "Speak the speech.",
        ],
        f"{hamlet}: HORATIO AND MARCELLUS": ["Our duty to your honour."],
        f"{hamlet}: PROLOGUE": ["For us, and for our tragedy."],
    }


def test_line_ends_of_other_systems_do_not_matter():
    for script in (MARKDOWN, OLD, NEW):
        assert roles_of(script.replace("\n", "\r\n")) == roles_of(script)


def test_one_play_of_gutenberg_has_its_title_above_the_author():
    single = "THE TEMPEST\n\n\nby William Shakespeare\n\nContents\n\nACT I\nScene I. A ship.\n\nACT I\n"
    single += "\nMIRANDA.\nO!\n"
    assert roles_of(single) == {"THE TEMPEST: MIRANDA": ["O!"]}
    assert roles_of("MIRANDA.\nO!\n", "Tempest") == {"Tempest: MIRANDA": ["O!"]}
