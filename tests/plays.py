"""Scripts of plays, as each layout has them."""

from fedtp_jax.data.plays import gather
from fedtp_jax.data.scripts import read_script


def roles_of(script: str, title: str = "File") -> dict[str, list[str]]:
    """PLAY: ROLE -> lines."""
    return {f"{role.play}: {role.name}": list(role.lines) for role in gather(read_script(script, title))}


# ---------------------------------------------------------------------------------------- Markdown

MARKDOWN = r"""# The Storm

## ACT I

### SCENE I. A shore, near
the ROCKS.

_Enter KIM, with a lamp; LEE and
other sailors after him_

**KIM**~
Who's there?~
I see  two   sails.

_\[Aside]_~
Not mine,'\--alas.

_Exit LEE_

The speech goes on~
without a new role.

[Within]_~
Ho!

**Lee**~
_\[To KIM]_ Here, and _\[kneeling]_ here.

__\[Rising]_~
BISHOP

**OF YORK**~
_Et tu_, sailor?
Amen.
THE STORM

## ACT II

Nobody says this.

**KIM & LEE**~
We.

SCENE II: The same.

**lee**~
BACK

_A forgotten mark

**KIM**~
O!

# EPILOGUE

_Enter KIM_

**KIM**~
Farewell.
""".replace("~\n", "  \n")  # two spaces end a line of verse


# --------------------------------------------------------------------------------------- Gutenberg

OLD = """The Project Gutenberg Etext of The Complete Works of William Shakespeare

1609

THE SONNETS

by William Shakespeare

                     1
  From fairest creatures we desire increase,
  So be it. Thy beauty's rose might never die,
    Pity the world, or else this glutton be.

1593

KING RICHARD III

by William Shakespeare


Dramatis Personae

  EDWARD THE FOURTH

    Sons to the King
  EDWARD, PRINCE OF WALES afterwards KING EDWARD V

<<THIS ELECTRONIC VERSION OF THE COMPLETE WORKS OF WILLIAM
SHAKESPEARE IS COPYRIGHT 1990-1993 BY WORLD LIBRARY, INC.>>

ACT I. SCENE 1.

London. A street

Enter RICHARD, DUKE OF GLOUCESTER, solus

  GLOUCESTER. Now is the winter of our discontent
    Made glorious summer by this sun of York;
    Retreat is sounded in this line of speech.
                                                [They all start]
    You do him injury to scorn his corse.     [DERBY rises]
             Enter CLARENCE, guarded,
                      and BRAKENBURY

    Brother, good day.  [Aside]  And make me die.     Exeunt
  Clar. His Majesty, [To all
    of them] tend'ring.
 Exit
<<THIS ELECTRONIC VERSION OF THE COMPLETE WORKS OF WILLIAM
SHAKESPEARE IS COPYRIGHT>>
  EDWARD, my lord, thy son, our king, is dead.
 RIVERS. Why with some little train?
  Clar. Amen.

SCENE 2.

  Nobody says this

  GloUCESTER. Again.

THE END


1593

THE COMEDY OF ERRORS

by William Shakespeare

DRAMATIS PERSONAE

SOLINUS, Duke of Ephesus
Gaoler, Officers, Attendants

ACT I. SCENE 1

A hall in the DUKE'S palace

Enter the DUKE OF EPHESUS, AEGEON, the Merchant
of Syracuse, GAOLER, OFFICERS, and other ATTENDANTS

AEGEON. Proceed, Solinus, to procure my fall,
  And by the doom of death end woes and all.
DUKE. Merchant of Syracuse, plead no more;
  Alas! Too. soon    <Exit AEGEON

ACT II. SCENE 1

DUKE. We came aboard.

THE END

End of this Etext of The Complete Works of William Shakespeare
  DUKE. Not this.
"""


NEW = """The Project Gutenberg eBook of The Complete Works of William Shakespeare

*** START OF THE PROJECT GUTENBERG EBOOK 100 ***

The Complete Works of William Shakespeare

by William Shakespeare

                    Contents

    THE SONNETS
    THE TRAGEDY OF HAMLET, PRINCE OF DENMARK
    ALL\u2019S WELL THAT ENDS WELL


THE SONNETS

                    1

From fairest creatures we desire increase,
That thereby beauty\u2019s rose might never die,

THE TRAGEDY OF HAMLET, PRINCE OF DENMARK

Contents

ACT I
Scene I. Elsinore. A platform before the Castle.

Dramatis Person\u00e6

KING OF DENMARK.
HAMLET, Prince of Denmark.
POLONIUS, Lord Chamberlain.

SCENE. Elsinore.

ACT I

SCENE I. A room in the Castle.


Enter King and
Polonius.

HAMLET.
[_Aside._] A little more than kin, and less than kind.
Tragical, scene individable, or poem unlimited.
THE END.

[_Exeunt Polonius with all
the Players._]

Dost thou hear me? Can you play _The Murder of Gonzago_?

Re-enter Ghost.

Enter not this line, for it follows a blank one.

Alarum\u2019d by his sentinel, the wolf.

FIRST PLAYER.
   _Anon he finds him,
   As hush as death._

_He kneels._

PROLOGUE.
For us, and for our tragedy.

HORATIO and MARCELLUS.
Our duty to your honour.

All.
Long live the King!

King.
No role.

 SCENE II. A hall in the Castle.

PROLOGUE.

Nobody says this.

HAMLET.
[_To the
Players_] Speak the speech.

ALL'S WELL THAT ENDS WELL

ACT I

COUNTESS.
In delivering my son from me.

*** END OF THE PROJECT GUTENBERG EBOOK 100 ***

DAMAGE.
Not this.
"""
