"""What the demo's model is asked in training, and what it should say.

A pattern is text in which (a|b|) stands for any one of its parts; parts may nest. The same pattern makes a question
and, read as a regular expression, tells whether it could have made one, so that wordings kept for the test are truly
unseen.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from edged.demo.truth import Truth

# -- patterns --------------------------------------------------------------------------------------

_INNERMOST = re.compile(r"\(([^()]*)\)")


def spin(pattern: str, rng: random.Random) -> str:
    """One of the texts that the pattern stands for."""
    while found := _INNERMOST.search(pattern):
        pattern = pattern[: found.start()] + rng.choice(found[1].split("|")) + pattern[found.end() :]
    return pattern


def could_make(pattern: str, text: str) -> bool:
    plain = re.sub(r"[.?*+\[\]{}^$\\]", lambda found: "\\" + found[0], pattern)
    return re.fullmatch(plain, text) is not None


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split())


PICTURE = "(picture|image|photo|frame|scene|camera view|snapshot|shot)"
YARD = "(yard|courtyard|parking lot|driveway|front yard|area)"
HERE = (
    f"( in (the|this) {PICTURE}| in the {YARD}| here| there| outside| in view| on camera| on the screen|"
    " in front of the (house|building)| on the (property|premises)||)"
)
NOW = "( right now| now| at the moment| currently|||||)"
SEE = (
    "(do you see|can you see|can be seen|are visible|are there|are shown|appear|show up|are present|do you "
    "count|can you count)"
)

PEOPLE = (
    "(people|people|people|people|persons|persons|humans|individuals|pedestrians|human beings|visitors|"
    "folks|human figures|"
    "figures of people|souls|grown-ups and children|passers-by|guests|living people|heads|men, women and children|"
    "folk|adults and children)"
)
SOMEBODY = (
    "(anyone|anybody|someone|somebody|a person|a human|any person|any human|people|any people|a pedestrian|a visitor|"
    "a human being|at least one person|one or more people|an individual|a single person|even one person|persons|humans|"
    "any persons|any humans|any human being|any individuals|visitors|any visitors|pedestrians|a man or a woman|"
    "some person|somebody at all|anyone at all)"
)
CARS = (
    "(cars|cars|cars|vehicles|vehicles|automobiles|motor vehicles|autos|parked cars|motor cars|passenger cars|"
    "cars or vans|road vehicles|private cars|parked vehicles|motorcars)"
)
A_CAR = (
    "(a car|a car|a vehicle|any car|any cars|any vehicle|any vehicles|an automobile|some car|a parked car|"
    "cars|vehicles|"
    "at least one car|one or more cars|a motor vehicle|a single car|even one car|any automobile|any automobiles|"
    "an auto|a passenger car|any kind of car|some vehicle|any parked cars|parked vehicles|any motor vehicle|some cars)"
)

COUNT = (
    f"How many {{things}} {SEE}{HERE}{NOW}?",
    f"How many {{things}} are{HERE}{NOW}?",
    f"How many {{things}} (stand|are standing|are staying|are waiting|are found|are located|exist){HERE}?",
    f"How many {{things}}{HERE}{NOW}?",
    f"How many {{things}} (overall|altogether|in all|all told|all together){HERE}?",
    f"How many {{things}} does (the|this) {PICTURE} (show|contain|have)?",
    f"How many {{things}} has the {YARD}?",
    f"(Count|Please count|Count up|Tally|Number) (the|all|all the|all of the|every one of the) {{things}}{HERE}{NOW}.",
    f"(Count|Please count) (the|all) {{things}} (you see|you can see|that are visible|visible){HERE}.",
    "(What is|What's|Give|Give me|Tell me|State|Report|Say|Find|Determine|Estimate) the (number|count|"
    "total|total number) of "
    f"(the |visible |)({{things}}){HERE}{NOW}(.|?)",
    f"(Tell me|Say|Report|Can you tell me|I want to know|Please tell me|Let me know) how many {{things}} "
    "(there are|you see|"
    f"you can see|are there|are visible|are present|are){HERE}{NOW}(.|?)",
    "{Things} (count|number|total)(:|?|, please.| please|)",
    f"(Number|Count|Total|Total number) of {{things}}{HERE}(:|?|)",
    f"What (number|count) of {{things}} (is|are) (there|visible|present|shown|seen){HERE}?",
    f"(The|This) {PICTURE} (shows|contains|has) how many {{things}}?",
    f"{{Things}}{HERE}: how many?",
    f"Of {{things}}, how many (are|do you see){HERE}?",
    f"(With|As) a number, how many {{things}} are{HERE}?",
    f"(Look|Take a look) at the {PICTURE}(.| and) how many {{things}} (are there|do you see|can you see)?",
    f"How many {{things}} (do you notice|can you make out|can you spot|do you find|do you detect|have you "
    "found|have you counted|"
    "did you count|can be counted|can be made out|would you say there are|are to be seen|come into view|"
    f"are around){HERE}{NOW}?",
    f"How many {{things}} (does the camera|do we|do they|can one|can anybody) (see|have|get|find|make out){HERE}{NOW}?",
    f"(Could|Can|Will|Would) you (please |)(count|number|total) (the |all |all the ){{things}}( for me|){HERE}?",
    f"(Could|Can|Will|Would) you (please |)(tell me|say|report|give me|find out) (how many {{things}} there are|"
    f"the number of {{things}}){HERE}?",
    "(I need|I want|I would like|I'd like|We need|Send me|Show me) (the number of|the count of|a count of|"
    "the total of) "
    f"{{things}}{HERE}(, please|).",
    f"(Exactly|Precisely|Roughly|About|So|And|Now|Then) how many {{things}} (are there|are visible|do you "
    f"see|are){HERE}?",
    f"(In|On) (the|this) {PICTURE}, how many {{things}} (are there|do you see|can you see|are visible)?",
    f"How many {{things}} (in total|in all|as a number|in figures){HERE}?",
    f"{{Things}}{HERE}, how many( of them|)?",
    f"How (large|big|high) is the number of {{things}}{HERE}?",
    f"(Give|Please give|State|Report) the {{things}} count{HERE}.",
    f"(What|Which) is the count of {{things}}{HERE}{NOW}?",
    f"(Count|Please count) every (single one of the |one of the |){{things}} you (see|can see|find){HERE}.",
    f"How many {{things}} (should|would|could|might|can|do|will|did) (I|you|we|one|they|someone) (expect|hope|want|"
    f"manage|happen|need|get|seem) to (find|see|meet|count|spot|notice|make out|be there|have){HERE}{NOW}?",
    f"How many {{things}} (should|would|could|might|can|will|must|may) (there be|be there|be out there|be found|be "
    f"counted|be in view|be present){HERE}{NOW}?",
    f"How many {{things}} (happen to be|seem to be|appear to be|turn out to be|have come to be){HERE}{NOW}?",
    f"How many {{things}} (have|has) (come|arrived|shown up|appeared|been seen|turned up|been caught){HERE}{NOW}?",
    f"How many {{things}} (am I|are we|are you|is the camera|is one) (looking at|seeing|dealing with|counting|watching)"
    f"{HERE}{NOW}?",
    f"(Put a number on|Give me a figure for|Give a figure for|Say a number for|Find the number for|Provide a count of|"
    f"Work out the number of|Add up|Sum up) the {{things}}{HERE}.",
    f"(Just|Only|Simply) the number of {{things}}{HERE}(, please|, thanks|).",
    f"(I am interested in|I'm asking|I ask|The question is|We want to know|Help me find out) how many {{things}} "
    f"(there "
    f"are|are there|you see|are){HERE}.",
    "(Any {things}|{Things}|{Things} there|{Things} visible)? (How many|How many are there|If so, how many)?",
    f"(What|How much) (is|would be|might be|comes out as|do you give as) the (number|count|total|sum) of {{things}}"
    f"{HERE}{NOW}?",
    f"(Considering|Judging by|Going by|From|According to|Looking at|Based on) (the|this) {PICTURE}, how many "
    f"{{things}} "
    f"(are there|do you see|are present|would you count|can be seen)?",
    f"(What's|What is|Give me|Tell me) the {{things}} (count|total|number|tally|figure){HERE}{NOW}(?|.)",
)
PRESENCE = (
    f"(Is|Are) there {{a thing}}{HERE}{NOW}?",
    f"(Is|Are) {{a thing}} (there|here|outside|present|visible|around|to be seen|in sight|nearby|in view){NOW}?",
    f"(Is|Are) {{a thing}}{HERE}{NOW}?",
    f"(Do|Can|Could) you (see|spot|find|notice|detect|make out|recognise|recognize) {{a thing}}{HERE}{NOW}?",
    f"(Does|Would) (the|this) {PICTURE} (show|contain|have|include) {{a thing}}?",
    f"(Can|Could) {{a thing}} be (seen|found|spotted|noticed|detected){HERE}?",
    f"(Has|Have) {{a thing}} (come|appeared|arrived|shown up|been seen){HERE}?",
    f"(Is|Are) {{a thing}} (standing|staying|waiting|in the open) (somewhere |)(outside|here|there|in the {YARD})?",
    "(Tell me|Say|Check|Look|Report|Verify|Let me know|I want to know|Please check) (if|whether) (there is|"
    "there are|you see|"
    f"you can see|you find) {{a thing}}{HERE}{NOW}.",
    f"(I|Do I|Would I) (wonder whether|see) {{a thing}} (is|are|)( here| there| outside| in the {YARD}| in "
    f"the {PICTURE})?",
    f"{{A thing}}{HERE}(?|: yes or no?|, yes or no?)",
    f"(Any sign of|Is there any sign of|Is there a sign of|Any trace of) {{a thing}}{HERE}?",
    f"(Is it true that|Is it so that|True or not:|Would you say that) there (is|are) {{a thing}}{HERE}?",
    f"Does the {YARD} (have|hold|contain) {{a thing}}?",
    f"(Is|Are) the {YARD} (with|occupied by|used by) {{a thing}}{NOW}?",
    f"Do we have {{a thing}}{HERE}{NOW}?",
    f"(Have|Did) you (see|seen|find|found|notice|noticed|spot|spotted) {{a thing}}{HERE}{NOW}?",
    f"(Would you say|Do you think|Do you believe|Does it seem|Is it right) (that |){{a thing}} (is|are){HERE}?",
    f"(Does|Did|Can|Could) the camera (see|show|catch|record) {{a thing}}{HERE}{NOW}?",
    f"(Please tell me|Could you tell me|Can you tell me|Can you tell|Tell us|Please say) (whether|if) {{a "
    f"thing}} (is|are)"
    f"( there| here| outside| in the {YARD}| in the {PICTURE}| present| visible)(.|?)",
    f"(In|On) (the|this) {PICTURE}, (is|are) (there |){{a thing}}( visible| present| to be seen|)?",
    f"(Can|Could) {{a thing}} be (made out|recognised|identified|discovered){HERE}?",
    f"(Is|Are) {{a thing}} (part of|shown in|contained in|captured in|somewhere in|anywhere in) (the|this) {PICTURE}?",
    f"(Is|Are) {{a thing}} (close to|near|next to|by|beside|in front of) the (house|door|building|wall){NOW}?",
    f"(Are you able|Is it possible) to (see|spot|make out) {{a thing}}{HERE}?",
    f"(Does|Do) {{a thing}} (appear|show up|come into view|occur|turn up){HERE}?",
    "(Is|Are) {a thing} (in|on) (the|our) (yard|courtyard|driveway|parking lot|path|lawn|ground) (now|"
    "today|just now|at present)?",
    f"(So|And|Well), (is|are) there {{a thing}}{HERE}?",
    f"There (is|are) {{a thing}}{HERE}(, right|, yes or no|, isn't there|)?",
    f"Might there be {{a thing}}{HERE}?",
    f"(I'd like|I would like|I want|We need|I'm trying) to (know|find out|learn|see) (if|whether) there (is|are) {{a "
    f"thing}}{HERE}{NOW}.",
    f"(Should|Would|Could|Can|Do|Will|May) (I|you|we|one) (expect|find|meet|see|encounter|count on) {{a thing}}{HERE}"
    f"{NOW}?",
    f"(Is it possible|Is it likely|Could it be|Is it correct|Is it the case|Am I right|Is it a fact) that (there (is|"
    f"are) |){{a thing}}( is| are|){HERE}?",
    f"(Is|Are) there (perhaps|by any chance|possibly|really|actually|also|now|currently|presently|still) {{a thing}}"
    f"{HERE}?",
    f"(Was|Were|Is|Are|Has|Have) {{a thing}} (seen|caught|spotted|detected|recorded|filmed|noticed|found|captured|"
    f"pictured|discovered){HERE}?",
    "{A thing}(:|,) (present|there|visible|in view|seen|here) or (not|absent)?",
    f"(Search|Scan|Look through|Check|Go over) (the|this) {PICTURE} for {{a thing}}. (Is there one|Found|Any|Do you "
    f"find one|Is it there)?",
    f"(Please look|Look|Please check|Check|Watch) for {{a thing}}{HERE}.",
    f"(Does|Do) {{a thing}} (stand|wait|move|stay|sit|exist|remain|pass|rest) (here|there|outside|in the {YARD}|in "
    f"view)"
    f"{NOW}?",
    f"(Do|Does|Did) (you|we|they|the {YARD}|the place) (currently |now |) have {{a thing}}{HERE}?",
    f"(See|Seen|Spot|Notice|Find) {{a thing}}{HERE}?",
    f"(Anything|Something) like {{a thing}}{HERE}?",
)
HEADCOUNT = (
    "(What is|What's|Give|Give me|Report|Tell me) the (headcount|head count|attendance|people count|number "
    "of those present)"
    f"{HERE}{NOW}(?|.)",
    "(Headcount|Head count|Number present|People count|How many of them|How many heads)( please|, please|)(.|?|)",
    "(Count|Please count) (everyone|everybody|every person|each person|all who are) (you see|you can see|"
    "there|here|outside|"
    f"in the {YARD}|in the {PICTURE}).",
    f"How many (are|stand|wait|walk) (there|here|outside|in the {YARD}), (people I mean|people, that is|I "
    "mean people)?",
    f"(By how many people|By how many) is the {YARD} used{NOW}?",
    f"How many {PEOPLE} (walk|stroll|wander|stand|are walking|are moving|are strolling|are out|are on foot|have "
    f"gathered|gathered|have come|came|have turned up|are about|stay|wait|pass by|are on their feet)( around| about| "
    f"outside|){HERE}{NOW}?",
    f"(What|Which) (size|number) is the (group|crowd|company) of {PEOPLE}{HERE}?",
    f"How (big|large) is the (group|crowd) (of people|){HERE}?",
)
ANYONE = (
    f"Is (anyone|anybody|someone|somebody) (around|out there|on site|about|moving){HERE}?",
    "Is (somebody|someone|anyone|anybody|a person|a human) (walking|standing|waiting|moving|going|"
    "strolling|loitering)( around| about|)"
    f"( in the {YARD}| outside| here| there|){NOW}?",
    f"Are people (walking|standing|waiting|moving)( around| about|)( in the {YARD}| outside| here| there|){NOW}?",
    f"Is the {YARD} (occupied|populated|in use){NOW}?",
    f"(Is|Are) there (anything|something) human{HERE}?",
    f"Do we have (company|visitors|guests|a guest){HERE}?",
    f"(Did|Has|Have) (someone|somebody|anyone|anybody|people|any people|a person) (enter|entered|come into|walked into|"
    f"come to|turned up in|stepped into) the {YARD}{NOW}?",
    f"(Is|Are) (someone|somebody|anyone|anybody|people|a person) (on foot|on the move|out and about|hanging around|"
    f"passing by|lingering|at the door|by the house|coming|in front of the camera){NOW}?",
    "(Is|Are) any of (the |)(people|persons|humans|visitors) (left|there|here|still there|in view)?",
    f"(Is|Was) the {PICTURE} (with people|showing people|one with a person in it)?",
    f"(Is|Are) (the |)(human|people|person) (presence|activity) (seen|there|detected|visible|noticed){HERE}?",
    "(Any|Some) (human|people) (presence|activity|movement|around|outside|here)?",
)
NO_ONE = (
    f"Is (nobody|no one|no person|not a single person){HERE}{NOW}?",
    f"(Is|Are) there (nobody|no one|no people|no person|not anyone){HERE}{NOW}?",
    f"Is the {YARD} (deserted|free of people|empty of people|without people|without anyone){NOW}?",
    f"Is it true that (nobody|no one) is{HERE}?",
)
ANY_CAR = (
    f"(Is|Are) {A_CAR} (parked|standing|waiting|parking|stopped|driving){HERE}{NOW}?",
    f"(Did|Has) (someone|somebody|anyone) (park|parked|left) (a car|a vehicle|their car){HERE}?",
    f"(Is|Are) there {A_CAR} (parked|standing|waiting){HERE}{NOW}?",
    f"(Did|Has|Have) {A_CAR} (arrive|arrived|driven in|drive in|pull in|pulled in|pull up|pulled up|been parked|come "
    f"in|stop|stopped){HERE}{NOW}?",
    f"Is (anyone's|someone's|somebody's|anybody's|my|our|their) (car|vehicle) (parked|there|here|standing|in view)"
    f"{HERE}?",
    f"Is (anything|something) (parked|on four wheels){HERE}{NOW}?",
    f"(Does|Do) (anyone|someone|anybody|they|we) have (a car|a vehicle|their car|cars) (parked|there|here|standing)"
    f"{HERE}?",
    f"(Is|Are) {A_CAR} (taking up|occupying|using|blocking|on) the ({YARD}|parking space|parking lot|drive){NOW}?",
)
PARKED = (
    f"How many {CARS} (are|have been|were|got) (parked|left|parking|driving|stopped|pulled up|standing still|brought|"
    f"stationed){HERE}{NOW}?",
    f"How many {CARS} (have|had) (parked|stopped|arrived|driven in|pulled in|pulled up|come in){HERE}{NOW}?",
    f"How many {CARS} (park|drive|stop|wait|stay|remain|occupy the {YARD}|use the {YARD}){HERE}{NOW}?",
)
NO_CAR = (
    f"(Is|Are) there (no car|no cars|no vehicle|no vehicles){HERE}{NOW}?",
    f"Is the {YARD} (free of|empty of|without) (cars|vehicles){NOW}?",
)
DOOR = (
    "(door|door|door|front door|house door|entrance door|entrance|green door|doorway|door of the house|door of "
    "the building)"
)
OPEN_DOOR = (
    f"Is (the|this|that|our) {DOOR} (open|opened|standing open|wide open|left open|ajar|unclosed){NOW}?",
    f"Does the {DOOR} (stand|look|seem|appear|appear to be|seem to be) open{NOW}?",
    f"(Do|Can) you see (an open|the open|an opened) (door|entrance|front door){HERE}?",
    f"(Has|Was|Did) (someone|somebody|anyone) (left|opened|leave|open) the {DOOR}( open|)?",
    f"Has the {DOOR} been (opened|left open){NOW}?",
    f"(Tell me|Say|Check|Report|Please check|Let me know|I want to know) (if|whether) the {DOOR} (is|stands|"
    f"has been left) open{NOW}.",
    f"The {DOOR}(: is it| is|, is it) open?",
    f"Is there an open (door|entrance|front door){HERE}?",
    "(Door|Front door|Entrance|The door) open(?|: yes or no?|, yes or no?)",
    f"(Is it true that|Would you say|Would you say that) the {DOOR} is open?",
    f"Could (I|you|one|someone) (walk|go|get) (in |)through the {DOOR}{NOW}?",
    f"(Can|Could) (people|someone|one) (enter|go in|walk in|come in) (by|through) the {DOOR} without opening it?",
    f"(In|On) (the|this) {PICTURE}, is the {DOOR} open?",
    "(Can you tell|Can you see|Please tell me|Could you tell me|Do you know|Tell us) (if|whether) the "
    f"{DOOR} is open{NOW}(.|?)",
    f"(Does|Did|Can) the camera (see|show) (an open|the open) (door|entrance|front door){NOW}?",
    f"(Does|Would) (the|this) {PICTURE} show (the|an|our) (open |)(door|entrance|front door)( open| "
    "standing open| wide open|)?",
    f"(Would you call|Do you call|Do you consider) the {DOOR} open?",
    f"(Is|Was) the {DOOR} (left|kept|standing|found|seen) open( by someone| by anybody| by mistake|)?",
    f"Is the way (in|into the house|inside|through the door) (open|free){NOW}?",
    "Is the (building|house)(| now| at present) (open|unlocked and open)?",
    f"(Did|Have|Has) (anyone|someone|they|somebody) (leave|left|opened|open) the {DOOR}( open| wide open|)?",
    f"The {DOOR} is open(, right|, isn't it|, yes or no|)?",
    f"Is the {DOOR} in (the open|an open) (position|state)?",
    f"Is the {DOOR} (not|no longer) (closed|shut|locked)( but open| but standing open| any more|){NOW}?",
    f"Is the {DOOR} open(, not closed| and not closed|, not shut| rather than closed| instead of shut| or not|, or "
    f"not)?",
    f"(An open|The open|Any open|Some open) {DOOR}( here| there| in view| now|)(?|: yes or no?)",
    f"Open(:| is) the {DOOR}(?|, yes or no?)",
    f"{DOOR} (wide open|standing open|left open|ajar|opened)( now| here|)?",
    f"(Can|Could|Do|May) (I|you|we|one|they) (see|look|peer) (in|inside|indoors|into the house|into the hall) "
    f"(by|through) the {DOOR}( because it is open|){NOW}?",
    f"Is the (inside|hall|interior|room behind it) (to be seen|visible|in view) through the {DOOR}{NOW}?",
    f"Is there a way in through the {DOOR}( as it is open|){NOW}?",
    f"(Would|Might|Can) (a dog|rain|the wind|cold air|a child|a thief|a bird) (get|come|run|fly|blow) in (by|through) "
    f"the {DOOR}{NOW}?",
    f"(Do|Did) (they|we|people|the owners) (keep|leave|have) (the|their|our) {DOOR} open{NOW}?",
    f"(Does|Do) the (building|house|owners|people) (keep|leave|hold) (its|their|the) {DOOR} open{NOW}?",
    f"(Should|Must|Need) (I|we|you|someone) (go and |)(close|shut) the {DOOR}{NOW}?",
    f"(About|As for|Regarding|Concerning) the {DOOR}(:|,) is it (open|standing open|opened){NOW}?",
    f"(Look at|Check|Watch|See) the {DOOR}(.|:) (Is it|It is|Is that) open?",
    f"(In what you see|As far as you see|From here|As you see it|By the look of it), is the {DOOR} open{NOW}?",
    f"(Is|Are) the {DOOR} (really|actually|truly|fully|partly|completely|still|already|indeed|once more) open{NOW}?",
    f"(Which is true|True or false|Right or wrong|Yes or no): the {DOOR} (is|stands) open(?|.)",
    f"(I think|I believe|They say|It seems) the {DOOR} is open(. Is it?|, is it?|. Right?|. Is that so?)",
)
SHUT_DOOR = (
    f"Is (the|this|that|our) {DOOR} (shut|closed|locked up|firmly shut){NOW}?",
    f"Does the {DOOR} (look|seem|appear|appear to be|stand) (closed|shut){NOW}?",
    f"(Has|Was) the {DOOR} (been |)(closed|shut){NOW}?",
    f"(Do|Can) you see a (closed|shut) (door|entrance|front door){HERE}?",
    f"(Tell me|Say|Check|Report|Please check|Let me know) (if|whether) the {DOOR} is (shut|closed){NOW}.",
    "(Door|Front door|Entrance|The door) (shut|closed)(?|: yes or no?)",
    f"Is the {DOOR} (not|no longer) open( but closed| but shut| any more|){NOW}?",
    f"Is the {DOOR} (closed|shut)(, not open| and not open| rather than open| instead of open| or not|, or not)?",
    f"(About|As for|Regarding) the {DOOR}(:|,) is it (closed|shut){NOW}?",
    f"(A closed|A shut|The closed|Any closed) {DOOR}( here| there| in view| now|)(?|: yes or no?)",
    f"(Look at|Check|Watch|See) the {DOOR}(.|:) (Is it|It is|Is that) (shut|closed)?",
)
NIGHT = (
    "Is it (night|nighttime|night time|dark|night outside|dark outside|nightfall|already night|already "
    f"dark|late|late at night|dark out){NOW}?",
    f"Is (the|this) {PICTURE} (taken|from|made|shot) (at|during|by|in the) (night|nighttime|dark)?",
    f"Was (the|this) {PICTURE} (taken|made|shot|recorded) (at|during the|by) night?",
    f"(Does|Would) (the|this) {PICTURE} show (a night|night|the night|nighttime|darkness)?",
    "Does it look (like night|dark|like it is night|as if it is night|like nighttime)(| outside| here)?",
    "(Has|Did) (night|darkness|the night) (fallen|come|begun|fall)(| yet| already)?",
    "(Is|Are) the (lamp|light|outdoor light|lamp by the door|wall lamp|lights|lamps|windows) (on|lit|"
    "burning|glowing|shining)?",
    "(Tell me|Say|Check|Report|Let me know|I want to know) (if|whether) it is (night|dark|night time|dark outside).",
    "(Night|Dark|Night time|Nighttime)(?|: yes or no?|, yes or no?)",
    f"Is (the {YARD}|the house|everything|the sky|this place) (dark|in darkness|in the dark){NOW}?",
    "Has the sun (set|gone down|gone)?",
    "(Is it true that|Would you say that|Would you say) it is (night|dark)?",
    "Is it after (dark|sunset|nightfall)?",
    f"(In|On) (the|this) {PICTURE}, is it (night|dark|night-time)?",
    "(Can you tell|Please tell me|Could you tell me|Can you see|Tell us) (if|whether) it is (night|dark|"
    "night-time)(.|?)",
    f"(Is|Was) (this|the {PICTURE}|it) (a night|a night-time|an evening or night) (picture|scene|shot|view|image)?",
    "(Would you call|Do you call) this (a night scene|night|a dark scene)?",
    "(Does|Did) the camera (see|show|film|record) (night|darkness|a night scene|a dark yard)?",
    "Is (the time of day|the time|it now|this time) (night|night-time)?",
    "Is it (night|dark) (out there|over there|in the yard|around the house|by now|or not|at present|where "
    "the camera is)?",
    "(Has|Did) it (become|get|got|gotten|grown) dark( outside| already|)?",
    f"(Is|Was) (this|the|that) {PICTURE} (of|taken in|recorded after|shot after|from) (the night|a dark "
    "night|dark|sunset)?",
    "So (is it|it is) (night|dark)( now|)?",
    "Is (day|daylight|the day) (over|gone)( now| already|)?",
    f"Has (night|darkness|the night|the dark) (fallen|come|begun|set in|arrived|started)( yet| already| here| outside|"
    f"){NOW}?",
    f"(Was|Is) (this|it|the {PICTURE}|that) (captured|recorded|taken|shot|filmed|made|photographed|caught) (at night|"
    f"after dark|in the dark|during the night|after sunset|by night|at night-time)?",
    f"(Is|Are) (we|you|they|the yard|the house|the people) (in|having|looking at) (the |a |)(night|dark|night-time)"
    f"{NOW}?",
    f"(Does|Do) (the|this) {PICTURE} (look|seem|appear) (dark|like night|like a night shot|night-like|nightly)?",
    f"(Is|Was) it (past|after|long after|well after) (sunset|dusk|nightfall|dark|bedtime){NOW}?",
    f"(Is|Was) (it|this) (at|in the middle of|late at|during the) night{NOW}?",
    f"(Is|Do you see) (the|a) (sky|night sky|background) (black|dark|of the night|at night){NOW}?",
)
DAY = (
    f"Is it (day|daytime|day time|bright outside|light outside|daylight|bright|still day|still light){NOW}?",
    f"Is (the|this) {PICTURE} (taken|from|made) (by|during|in) (day|the day|daylight|daytime)?",
    f"Was (the|this) {PICTURE} (taken|made|shot) (by|during the) day?",
    f"(Was|Is) (this|it|the {PICTURE}) (captured|recorded|taken|shot|filmed|made) (by day|in daylight|in the daytime|"
    f"during the day|before dark|before sunset)?",
    f"(Is|Was) the sun (up|still up|shining|out|in the sky){NOW}?",
    f"Has (the day|morning|daylight) (come|begun|broken|started){NOW}?",
    f"(Is|Was) it (before|not yet|still before) (sunset|dark|night|nightfall){NOW}?",
    f"(Is|Are) (we|you|they|the yard|the house) (in|having) (daylight|the daytime|day|the light){NOW}?",
    "(Is there|Do you see|Do we have) (daylight|sunlight)(| outside| here)?",
    "(Tell me|Say|Check|Report|Let me know) (if|whether) it is (day|daytime|light|bright outside).",
    "(Is|Are) the (lamp|light|lights|lamps) (off|out|dark)?",
    "Does it look (like day|bright|like daytime|like it is day)(| outside| here)?",
)
DOOR_CHOICE = (
    f"(Is|How is) the {DOOR}(| now| right now)?",
    f"(What is|What's|Tell me|Report|Give|Give me) the (state|status|position) of the {DOOR}(?|.)",
    f"(In (which|what) state is|How does) the {DOOR}( look|)?",
    f"(What|Which) state is the {DOOR} in?",
    "(Door|Door state|Door status|State of the door)(:|?)",
    f"Is the {DOOR} {{one}} or {{other}}?",
)
LIGHT_CHOICE = (
    "(What|Which) (time of day|part of the day|time) is it?",
    f"(What|Which) time of day (does the {PICTURE} show|was the {PICTURE} taken|is shown)?",
    "Is it {one} or {other}(| outside| now)?",
    "(What is|How is|Tell me|Report) the (light|lighting|time of day)(?|.)",
    "(Time of day|Day or night|Lighting)(:|?)",
    f"(When|At what time of day) was (this|the) {PICTURE} taken?",
)
DESCRIBE = (
    "(Describe|Please describe|Could you describe|Summarise|Summarize|Sum up|Explain) (the|this) "
    f"{PICTURE}( in one sentence| in a sentence| briefly| shortly|)(.|)",
    "(Describe|Please describe|Summarise|Summarize) (what you see|what is happening|the situation|the yard|"
    "everything|what is visible|the surroundings)"
    "( in one sentence| in a sentence| briefly| here| in the picture|)(.|)",
    "(What do you see|What can you see|What is shown|What is happening|What is going on|What's going on|"
    "What's there|What is there|What's happening)"
    f"( in (the|this) {PICTURE}| in the {YARD}| here| outside|){NOW}?",
    f"What does (the|this) {PICTURE} show?",
    "(Tell me|Say|Report) (what you see|what is happening|what is there|what is going on|what the "
    f"{PICTURE} shows)( in one sentence|).",
    "(Write|Give|Give me|Make) (a|one|a short|a brief|a one-sentence) (description|summary|caption|report|"
    f"sentence)( of| for| about) (the|this) {PICTURE}.",
    "(Give|Write) (me |)(a|one) (short |)(description|summary|caption|sentence|overview).",
    "Describe the environment and context surrounding the main subject.",
    f"(Caption|Describe) (this|the {PICTURE}|it)(.|)",
    f"How does the (yard|{PICTURE}|scene) look{NOW}?",
)
JSON_ALL = (
    f"(Describe|Summarise|Summarize|Report|Sum up|Analyse|Analyze) (the|this) {PICTURE}.",
    f"(Describe|Report|Summarise) (what you see|the situation|everything|the state of the {YARD}).",
    f"(What do you see|What is there|What is happening)( in the {PICTURE}| in the {YARD}|)?",
    "(Report|Give|Tell me|List|Return|Record|Fill in) the (facts|state|status|data|values|details)(| of "
    f"the {YARD}| of the {PICTURE}).",
    f"(What is|Report|Give) the (state|status) of the {YARD}(.|?)",
    "(How many people and cars are there, is the door open and is it night|People, cars, door, night)?",
    "(Count the people and the cars, and say whether the door is open and whether it is night|Report "
    "people, cars, the door and night).",
    f"(Fill in|Complete|Make) the (form|record|report)( for the {PICTURE}| about the {YARD}|).",
)
JSON_KEYS = (
    "(Give|Return|Report|Fill in|Tell me|Provide|Write|State) (the keys |the values |the fields |){keys}(| "
    "for this picture| for the yard| of the scene).",
    "(What are|Find) {keys}( here| in the picture|)?",
    "{keys}(:|.|?)",
)

# -- the same in Korean ----------------------------------------------------------------------------

HERE_KO = (
    "((이 |)(사진|그림|화면|이미지|장면|영상)(에|에는|에서|속에|안에)( |)|(마당|뜰|앞마당|주차장)(에|에는|"
    "에서|안에)( |)|(여기|밖|집 앞|건물 앞|이곳|카메라)(에|에는|)( |)|"
    "(지금|현재) |||)"
)
ARE_KO = (
    "(있나요|있나요|있습니까|있어요|있지요|있는가요|보이나요|보입니까|보여요|있니|계신가요|나오나요|나와요|"
    "나옵니까|찍혔나요|찍혀 있나요|있는 것 같나요|있을까요|보일까요|있지|있습니까|있는 거죠|있어|보여|보이니|있나|"
    "보이나|"
    "계세요|계십니까|있는지요|보이는지요|있는 거야|보이지요|나와|나오니|있을지요)"
)
COUNT_PEOPLE_KO = (
    f"{HERE_KO}(사람|사람들|인원|행인|방문객)(이|은|이 모두|이 총|은 모두|) 몇 (명|명이나|분|사람) {ARE_KO}?",
    f"{HERE_KO}몇 (명|명이|명의 사람이|사람이|분이) {ARE_KO}?",
    f"{HERE_KO}(사람|사람들|인원)(의 |)(수|숫자)(는|를)( 몇인가요?| 얼마인가요?| 세어 주세요.| 세세요.| "
    "알려 주세요.| 말해 주세요.| 답하세요.)",
    f"{HERE_KO}(사람|사람들|인원)(이|은|) (몇 명인가요|몇 명입니까|몇 명이에요|몇 명이죠|모두 몇 명인가요|"
    "총 몇 명인가요)?",
    f"{HERE_KO}(사람|사람들)(을|) (세어 주세요|세세요|세어 보세요|세어줘|모두 세어 주세요).",
    f"{HERE_KO}(사람이 |)몇 명(인지|이 있는지|이나 있는지|이 보이는지) (알려 주세요|말해 주세요|세어 주세요|"
    "답하세요|확인해 주세요|알려줘).",
    "(사람|인원|사람 수|인원 수|인원수|총 인원)(:|?|은?|는?)",
    f"{HERE_KO}(있는|보이는) 사람(은|이) (모두 |총 |)몇 명(인가요|입니까|이에요|이죠)?",
    f"{HERE_KO}(나와 있는|나온|찍힌|서 있는|보이는|있는|계신) (사람|사람들|인원|분)(은|이|들은|) (모두 |"
    "전부 |총 |다 해서 |)몇 (명|분)(인가요|입니까|이에요|이죠|이나 되나요)?",
    f"{HERE_KO}(사람|인원)(이|은|의 수가|의 수는) (어떻게 되나요|얼마나 되나요|얼마나 있나요|몇이나 있나요|"
    "얼마인지 알려 주세요)?",
    f"{HERE_KO}(모두|전부|총|다) 몇 (명|분)(이|) {ARE_KO}?",
    f"{HERE_KO}(사람|사람들|인원)(을|이 몇 명인지|의 수를) (세어 보세요|세어 주시겠어요|숫자로 말해 주세요|"
    "세어 볼래요|알려 주시겠어요|구해 주세요)(.|?)",
    f"{HERE_KO}(사람을 |모두 |)(세면|합하면|다 세면|더하면) (모두 |)몇 (명|분)(인가요|이에요|입니까|이죠)?",
    f"{HERE_KO}몇 사람(이|이나|) (있나요|있어요|보이나요|있습니까|나오나요|서 있나요)?",
    f"{HERE_KO}(사람|사람들|인원|인물|방문객)(이|은|의 수는|) (도합|합쳐서|통틀어|합해서|대략|정확히|지금|현재|대체|"
    f"과연) "
    f"몇 (명|분|명이나)(인가요|인지요|입니까|이에요|이죠|이야| 있나요| 있습니까| 있어요| 되나요| 보이나요)?",
    f"{HERE_KO}(사람 |사람이 |인원이 |)몇 (명|분|명이나|명쯤)(이|) (와 있나요|나와 있나요|모여 있나요|걷고 있나요|서 "
    f"있나요|"
    f"지나가나요|오셨나요|돌아다니나요|와 있어요|서 있습니까|나와 있습니까|걸어 다니나요|보입니까|돼)?",
    f"{HERE_KO}(사람|인원|인물) (수|숫자|인원|명수)(가|는|) (몇|얼마|어떻게)( |)(인가요|입니까|되나요|이에요|죠|"
    f"됩니까|돼요|야)?",
    f"{HERE_KO}(사람|인원|사람들) (수 |숫자 |)(세어 줘|세 줘|세어 봐|알려 줘|말해 줘|세어 주십시오|세어 주실래요)(.|)",
    f"{HERE_KO}(사람|인원|사람들)(이|은|) (몇이야|몇 명이야|몇 명이니|몇이에요|몇인가|몇이나 돼요|몇이나 보이나요|"
    f"몇이죠|"
    f"몇 명이나 돼|얼마나 많나요|얼마나 있어요|얼마나 돼요)?",
    f"{HERE_KO}(사람의 수를|인원을|인원 수를|사람 수를|몇 명인지를|사람이 몇인지) (세어 주세요|구하세요|알고 싶어요|"
    f"알고 싶습니다|파악해 주세요|확인해 주세요|적어 주세요|말씀해 주세요|숫자로 적어 주세요).",
)
COUNT_CARS_KO = (
    f"{HERE_KO}(차|자동차|차량|승용차)(가|는|이|은|가 모두|가 총|) 몇 (대|대나|대가) {ARE_KO}?",
    f"{HERE_KO}몇 대(가|의 차가|의 자동차가|의 차량이|) {ARE_KO}?",
    f"{HERE_KO}(차|자동차|차량)(의 |)(수|대수|숫자)(는|를)( 몇인가요?| 얼마인가요?| 세어 주세요.| 세세요.| "
    "알려 주세요.| 말해 주세요.| 답하세요.)",
    f"{HERE_KO}(차|자동차|차량)(는|가|이|은|) (몇 대인가요|몇 대입니까|몇 대예요|몇 대죠|모두 몇 대인가요|"
    "총 몇 대인가요)?",
    f"{HERE_KO}(차|자동차|차량)(를|을|) (세어 주세요|세세요|세어 보세요|세어줘|모두 세어 주세요).",
    f"{HERE_KO}(차가 |자동차가 |차량이 |)몇 대(인지|가 있는지|나 있는지|가 보이는지) (알려 주세요|말해 "
    "주세요|세어 주세요|답하세요|확인해 주세요|알려줘).",
    "(차|자동차|차량|차량 수|자동차 수|차량 대수)(:|?|는?|은?)",
    f"{HERE_KO}(있는|보이는|주차된|서 있는) (차|자동차|차량)(는|가|은|이) (모두 |총 |)몇 대(인가요|입니까|예요|죠)?",
    f"{HERE_KO}(나와 있는|나온|찍힌|서 있는|보이는|있는|세워 둔|세워진|주차되어 있는) (차|자동차|차량|"
    "차들)(은|는|이|가|) (모두 |전부 |총 |다 해서 |)몇 대(인가요|입니까|예요|죠|나 되나요)?",
    f"{HERE_KO}(차|자동차|차량)(가|는|이|의 수가|의 수는|은) (어떻게 되나요|얼마나 되나요|얼마나 있나요|몇 "
    "대나 되나요|몇이나 있나요|얼마인지 알려 주세요)?",
    f"{HERE_KO}(차|자동차|차량)(가|이|는|) (모두|전부|총|다) 몇 대(가|) {ARE_KO}?",
    f"{HERE_KO}(차|자동차|차량)(를|을|가 몇 대인지|이 몇 대인지|의 수를) (세어 보세요|세어 주시겠어요|"
    "숫자로 말해 주세요|세어 볼래요|알려 주시겠어요|구해 주세요)(.|?)",
    f"{HERE_KO}(차를 |자동차를 |차량을 )(모두 |)(세면|합하면|다 세면|더하면) (모두 |)몇 대(인가요|예요|입니까|죠)?",
    f"{HERE_KO}(차|차들|자동차|차량|승용차)(가|는|이|은|의 수는|) (도합|합쳐서|통틀어|합해서|대략|정확히|지금|현재|"
    f"대체|과연) "
    f"몇 대(인가요|인지요|입니까|예요|죠|야|나 되나요| 있나요| 있습니까| 있어요| 되나요| 보이나요)?",
    f"{HERE_KO}(차가 |차 |자동차가 |차량이 |)몇 대(나|가|쯤|) (와 있나요|서 있나요|주차되어 있나요|주차돼 있나요|"
    f"지나가나요|"
    f"세워져 있나요|들어와 있나요|주차했나요|서 있습니까|주차되어 있습니까|세워져 있어요|보입니까|돼)?",
    f"{HERE_KO}(차|자동차|차량|승용차) (수|숫자|대수)(가|는|) (몇|얼마|어떻게)( |)(인가요|입니까|되나요|이에요|죠|"
    f"됩니까|돼요|야)?",
    f"{HERE_KO}(차|자동차|차량|차들) (수 |숫자 |대수 |)(세어 줘|세 줘|세어 봐|알려 줘|말해 줘|세어 주십시오|세어 "
    f"주실래요)(.|)",
    f"{HERE_KO}(차|자동차|차량|차들)(가|는|이|은|) (몇 대야|몇 대니|몇이에요|몇 대인가|몇 대나 돼요|몇 대나 보이나요|"
    f"얼마나 "
    f"많나요|얼마나 있어요|얼마나 돼요)?",
    f"{HERE_KO}(차의 수를|차량 대수를|자동차 수를|차가 몇 대인지를|차량이 몇 대인지) (세어 주세요|구하세요|알고 싶어요|"
    f"알고 싶습니다|파악해 주세요|확인해 주세요|적어 주세요|말씀해 주세요|숫자로 적어 주세요).",
)
PRESENCE_KO = (
    f"{HERE_KO}{{thing}} {ARE_KO}?",
    f"{HERE_KO}{{thing}} (하나라도|조금이라도|혹시|정말|지금|현재) {ARE_KO}?",
    f"{HERE_KO}{{thing}} (있는지|보이는지) (알려 주세요|말해 주세요|확인해 주세요|답하세요|봐 주세요|확인해줘).",
    f"{{thing}} {HERE_KO}{ARE_KO}?",
    f"(혹시|지금|현재|저기) {{thing}} {ARE_KO}?",
    f"{HERE_KO}{{thing}} (나타났나요|왔나요|찍혔나요|나왔나요|서 있나요|있는 것이 보이나요|존재하나요|"
    "확인되나요|발견되나요)?",
    f"{HERE_KO}{{thing}} (있는지|보이는지|나오는지) (봐 주시겠어요|알려 주시겠어요|확인해 주시겠어요|말해 "
    "줄래요|볼래요)?",
    f"{HERE_KO}{{thing}} (나옵니까|나오죠|서 있는 것 같나요|있는 것 같아요|있는 것으로 보이나요|보이는 것 "
    "같나요|나와 있나요|와 있나요|세워져 있나요)?",
    f"{HERE_KO}{{thing}} (한 번이라도|어딘가에|어디에|어디든|근처에|집 앞에|문 앞에|밖에|마당에|화면에|"
    f"사진에) {ARE_KO}?",
    f"(거기|저기|여기|밖에|집 앞에|문 근처에) {{thing}} {ARE_KO}?",
    f"{HERE_KO}{{thing}} (지나가나요|눈에 띄나요|눈에 들어오나요|들어와 있나요|서 있습니까|움직이나요|머물고 있나요|"
    f"와 있습니까|"
    f"잡혔나요|포착되었나요|등장하나요|남아 있나요|와 있어요|나타났습니까|나타났어요)?",
    f"{HERE_KO}{{thing}} (있는지|보이는지|와 있는지) (궁금해요|궁금합니다|알고 싶어요|살펴봐 주세요|알려 줘|봐 줘|"
    f"확인 부탁해요|"
    f"확인 부탁드립니다|말씀해 주세요).",
)
# With the bare noun, for other particles than 이 and 가.
PRESENCE_NOUN_KO = (
    f"{HERE_KO}{{noun}}(을|를) (찾을 수|볼 수|발견할 수|확인할 수|알아볼 수|만날 수|구분할 수) (있나요|있습니까|"
    f"있어요|있을까요|있어)?",
    f"{HERE_KO}{{noun}}(을|를) (보셨나요|찾았나요|봤나요|발견했나요|찾으셨나요|보고 있나요|확인했나요|보았습니까|"
    f"찾아볼 수 있나요)?",
    f"{HERE_KO}{{noun}}의 (모습|흔적|형체|존재|일부|형태)(이|가|을|를) {ARE_KO}?",
    f"{HERE_KO}{{noun}}의 (모습|흔적|형체|존재)(을|를) (볼 수|찾을 수|확인할 수) (있나요|있습니까|있어요)?",
    f"{HERE_KO}{{noun}} {ARE_KO}?",
    f"{HERE_KO}{{noun}}(도|라도|이라도|만|이나|나) (하나 |) {ARE_KO}?",
    f"{HERE_KO}{{noun}}( 같은 것이| 비슷한 것이| 하나가| 하나라도| 하나쯤|로 보이는 것이|으로 보이는 것이) {ARE_KO}?",
    f"{HERE_KO}(어떤|아무|무슨|한) {{noun}}(이|가|이라도|라도|이든|든|도) {ARE_KO}?",
    f"{HERE_KO}{{noun}} (유무|여부|존재 여부)(를 알려 주세요.|를 확인해 주세요.|는?|:)",
    f"{HERE_KO}{{noun}}(은|는) {ARE_KO}?",
)
PERSON_NOUN_KO = "(사람|사람|사람|사람들|누군가|행인|방문객|인물|방문자|손님|인기척)"
CAR_NOUN_KO = "(차|차|차|자동차|자동차|차량|승용차|차들|세워 둔 차|주차된 차|서 있는 차)"
SOMEBODY_KO = (
    "(사람이|사람이|사람은|사람들이|누가|누군가|누군가가|아무나|아무라도|한 명이라도|한 사람이라도|행인이|"
    "방문객이|방문자가|어떤 사람이|인물이|누구|누구라도|누구든|누구든지|누구 한 명이라도|사람 한 명이|손님이)"
)
CAR_KO = (
    "(차가|차가|자동차가|자동차는|차량이|차는|차량은|승용차가|차 한 대라도|"
    "주차된 차가|차들이|차 한 대가|차가 한 대라도|세워 둔 차가)"
)
NO_ONE_KO = (
    f"{HERE_KO}(아무도|사람이|사람이 아무도|사람이 한 명도) (없나요|없습니까|없어요|안 보이나요|보이지 않나요)?",
)
NO_CAR_KO = (f"{HERE_KO}(차가|자동차가|차량이|차가 한 대도) (없나요|없습니까|없어요|안 보이나요|보이지 않나요)?",)
DOOR_KO = "(문|문|문|현관문|출입문|대문|집 문|건물 문|초록색 문|앞문|입구 문)"
OPEN_DOOR_KO = (
    f"(지금 |현재 |혹시 |){DOOR_KO}(이|은) (열려 있나요|열려 있습니까|열려 있어요|열렸나요|열렸습니까|열려 "
    "있지요|열려 있는가요|열린 상태인가요|활짝 열려 있나요|열려있나요|열려 있니|열려 보이나요)?",
    f"{DOOR_KO}(이|은|을) (열려 있는지|열렸는지|열어 두었는지) (알려 주세요|말해 주세요|확인해 주세요|"
    "답하세요|확인해줘).",
    f"{HERE_KO}열린 (문|현관문|출입문)이 {ARE_KO}?",
    f"(누가|누군가|혹시) {DOOR_KO}(을) (열었나요|열어 두었나요|열어 놓았나요)?",
    "(문 열림|문이 열림|문 열려 있음|열린 문)(?|: 예 아니요?)",
    f"{HERE_KO}{DOOR_KO}(이|은) (열려 있나요|열려 있습니까|열려 있어요|열렸나요|열린 상태인가요|열려 있는 "
    "것 같나요|열린 채로 있나요|열린 채인가요)?",
    f"{HERE_KO}{DOOR_KO}(이|은) (열려 있는지|열렸는지) (봐 주시겠어요|알려 주시겠어요|확인해 주시겠어요|말해 줄래요)?",
    f"{DOOR_KO}(을|은|이) (누가|누군가) (열어 두었나요|열어 놓았나요|열었나요|연 것 같나요)?",
    f"(누가|누군가|혹시 누가) {DOOR_KO}(을) (열어 둔 것 같나요|열어 놓은 건가요|열어 둔 건가요|연 건가요)?",
    "(현관|입구|출입구|집)(이|은|이 지금) (열려 있나요|열려 있습니까|열렸나요|열려 있어요)?",
    f"{DOOR_KO}(이|은) (닫혀 있지 않고|닫히지 않고) (열려 있나요|열려 있습니까|열렸나요)?",
    f"{DOOR_KO}(이|은) (닫혀 있지 않나요|닫혀 있지 않습니까|안 닫혀 있나요|닫히지 않았나요)?",
    f"{DOOR_KO}(이|은) (아직|계속|정말|완전히|조금|이미|다시|여전히) (열려 있나요|열려 있습니까|열려 있어요|열렸나요)?",
    f"{DOOR_KO}(이|은) (열려 있는 게 맞나요|열려 있는 건가요|열려 있는 거죠|열려 있는 상태죠|열린 거예요|열린 게 "
    f"보이나요)?",
    f"{DOOR_KO}(을|은) (안 닫았나요|닫지 않았나요|닫아야 하나요|열어 놓은 상태인가요|열어 놨나요)?",
    f"{DOOR_KO}(으로|을 통해) (안이 보이나요|들어갈 수 있나요|집 안이 보이나요|바로 들어갈 수 있나요)?",
    f"(지금 |현재 |혹시 |){DOOR_KO}(이|은|) (열려 있어|열렸어|열려 있나|열렸니|열린 거야|열려 있는 거야|열려있어|"
    f"열렸는지요|"
    f"열려 있는지 궁금해요|열린 채로 있나요|열린 채인가요|열려 있는 것 같나요|열려 있는 것으로 보이나요|열려 "
    f"있을까요)?",
)
SHUT_DOOR_KO = (
    f"(지금 |현재 |){DOOR_KO}(이|은) (닫혀 있나요|닫혀 있습니까|닫혀 있어요|닫혔나요|닫혔습니까|닫힌 "
    "상태인가요|잘 닫혀 있나요|닫혀있나요|꼭 닫혀 있나요)?",
    f"{DOOR_KO}(이|은) (닫혀 있는지|닫혔는지) (알려 주세요|말해 주세요|확인해 주세요|답하세요).",
    f"{DOOR_KO}(이|은) (열려 있지 않나요|열려 있지 않습니까|안 열려 있나요|열리지 않았나요)?",
    f"{DOOR_KO}(이|은) (아직|계속|정말|완전히|이미|다시|여전히) (닫혀 있나요|닫혀 있습니까|닫혀 있어요|닫혔나요)?",
    f"(지금 |현재 |혹시 |){DOOR_KO}(이|은|) (닫혀 있어|닫혔어|닫혀 있나|닫혔니|닫힌 거야|닫힌 채로 있나요|닫혀 있는 "
    f"것 같나요|"
    f"닫혀 있을까요)?",
)
NIGHT_KO = (
    "(지금은 |지금 |밖은 |현재 |여기는 |이 사진은 |)(밤인가요|밤입니까|밤이에요|밤이죠|밤인지요|밤중인가요|"
    "한밤중인가요|야간인가요|밤 시간인가요|밤이 되었나요|밤이니|저녁이나 밤인가요)?",
    "(지금 |밖이 |밖은 |마당이 |주위가 |하늘이 |)(어두운가요|어둡습니까|어두워요|깜깜한가요|캄캄한가요|어두워졌나요)?",
    "(이 |)(사진|장면|화면|영상|이미지)(은|는|이|) (밤에|야간에|어두울 때) (찍은 것인가요|찍었나요|"
    "찍혔나요|찍은 사진인가요)?",
    "(지금 |)(밤인지|어두운지|야간인지) (알려 주세요|말해 주세요|확인해 주세요|답하세요).",
    "(해가|날이) (졌나요|저물었나요|어두워졌나요)?",
    "(전등|등|불|가로등|램프|조명)(이|이|은) (켜져 있나요|켜졌나요|켜져 있습니까|들어와 있나요)?",
    "(밤|야간|어두움)(?|: 예 아니요?)",
    "(지금 |현재 |)(마당은|마당이|바깥은|바깥이|집 앞은|여기는|이곳은|화면은|이 장면은) (밤인가요|밤입니까|"
    "밤이에요|어두운가요|어둡나요|야간인가요)?",
    "(지금 |)(밤인지|어두운지|야간인지|밤이 되었는지) (봐 주시겠어요|알려 주시겠어요|확인해 주시겠어요|말해 줄래요)?",
    "(이 |)(사진|화면|장면|영상|그림)(이|은|에 보이는 것이) (밤 풍경인가요|밤 사진인가요|밤의 모습인가요|"
    "밤 장면인가요|야간 사진인가요|밤에 찍힌 건가요|밤에 찍힌 사진인가요)?",
    "(혹시 |벌써 |이미 |아직 )(밤이에요|밤인가요|어두워졌나요|밤입니까|어두운가요|밤이죠)?",
    "(이것은 |이건 |이게 |지금 |여기 |이 시간은 |)(밤|야간|한밤중)(이라고|으로|으로도) (할 수|볼 수|말할 수|부를 수|"
    "생각할 수|"
    "판단할 수) (있나요|있습니까|있어요|있을까요)?",
    "(이것은 |이건 |이게 |이 |)(밤|야간|밤중|한밤중|어두울 때|밤 시간)에 (촬영한|찍은|찍힌|기록된|나온|촬영된|담은) "
    "(사진|화면|영상|"
    "장면|이미지|것)(입니까|인가요|이에요|이죠|이 맞나요|일까요|이야)?",
    "(지금 |여기는 |이곳은 |밖은 |)(밤|야간|한밤)(이|인 것이|인 게) (맞나요|맞습니까|맞아요|확실한가요|분명한가요)?",
    "(지금 |여기는 |이곳은 |밖은 |보기에 |)(밤|야간|밤중)(인 것|인 듯|처럼|같이)( |)(같나요|한가요|보이나요|보입니까|"
    "같습니까|느껴지나요)?",
    "(밤의|한밤의|야간의|어두운) (모습|풍경|사진|마당|장면|시간|시간대)(입니까|인가요|이에요|일까요|이죠)?",
    "(지금 |밖은 |밖이 |여기는 |)(밤이야|어두워|밤인 거야|어둡니|깜깜해|밤이지|어두워졌어|밤이니|밤일까요|밤인지요|"
    "어두컴컴한가요)?",
    "(시간은 |시간대는 |시간대가 |때는 |)(밤|야간|밤 시간대|밤중)(인가요|입니까|이에요|인지 궁금해요|인지 알고 "
    "싶어요)?",
    "(밤이|어둠이|날이) (되었나요|됐나요|왔나요|내렸나요|깊었나요|찾아왔나요|됐어요|되었습니까|저물었습니까|"
    "어둡습니까)?",
)
DAY_KO = (
    "(지금은 |지금 |밖은 |현재 |이 사진은 |)(낮인가요|낮입니까|낮이에요|낮이죠|대낮인가요|주간인가요|"
    "한낮인가요|낮 시간인가요)?",
    "(지금 |밖이 |밖은 |마당이 |주위가 |)(밝은가요|밝습니까|밝아요|환한가요)?",
    "(이 |)(사진|장면|화면|영상)(은|는|) (낮에|주간에|밝을 때) (찍은 것인가요|찍었나요|찍혔나요)?",
    "(지금 |)(낮인지|밝은지) (알려 주세요|말해 주세요|확인해 주세요).",
    "(이것은 |이건 |이 |)(낮|주간|대낮|밝을 때)에 (촬영한|찍은|찍힌|기록된|나온|촬영된) (사진|화면|영상|장면|"
    "것)(입니까|인가요|이에요|"
    "이죠)?",
    "(이것은 |지금 |여기 |)(낮|주간|대낮)(이라고|으로) (할 수|볼 수|말할 수) (있나요|있습니까|있어요)?",
    "(지금 |밖은 |여기는 |)(낮이야|밝아|낮인 거야|환해|낮이지|낮이니|낮일까요|낮이 맞나요|낮인 것 같나요|낮처럼 "
    "보이나요)?",
)
DOOR_CHOICE_KO = (
    f"{DOOR_KO}(은|이|의 상태는|은 지금|은 어떤 상태인가요|의 상태를 말해 주세요|은 어떤가요|은 어떻게 되어 "
    "있나요)(?|.|)",
    "(문|문 상태|문의 상태)(:|?)",
)
LIGHT_CHOICE_KO = (
    "(지금은 |지금 |)(언제인가요|어느 때인가요|하루 중 언제인가요|시간대는|시간대가 어떻게 되나요|낮인가요 "
    "밤인가요|밤인가요 낮인가요)?",
    "(시간대|낮과 밤|낮 또는 밤|조명)(:|?|을 말해 주세요.)",
)
DESCRIBE_KO = (
    "(이 |)(장면|사진|그림|화면|이미지|마당|상황)(을|를|) (한 문장으로 |짧게 |간단히 |)(설명하세요|설명해 "
    "주세요|묘사하세요|묘사해 주세요|요약해 주세요|설명해줘|말해 주세요|알려 주세요).",
    f"{HERE_KO}(무엇이|뭐가|무엇이 지금) (보이나요|보입니까|있나요|있습니까|보여요)?",
    f"{HERE_KO}(무슨 일이|어떤 일이) (있나요|일어나고 있나요|벌어지고 있나요|생겼나요)?",
    "(보이는 것을|무엇이 보이는지|상황을|지금 상황을) (한 문장으로 |짧게 |)(설명하세요|설명해 주세요|말해 "
    "주세요|알려 주세요|적어 주세요).",
    "(지금 |)(마당은|여기는|장면은|상황은|상황이) (어떤가요|어떻습니까|어때요|어떻게 되나요)?",
)
JSON_ALL_KO = (
    "(이 |)(장면|사진|화면|상황|마당)(을|를|의 상태를|에 대해|) (설명하세요|설명해 주세요|보고하세요|"
    "요약해 주세요|알려 주세요|정리해 주세요).",
    "(무엇이 보이나요|사람과 차가 몇인지, 문이 열려 있는지, 밤인지 알려 주세요|사람, 차, 문, 밤)(?|.)",
    "(상태를|값을|정보를|사실을) (알려 주세요|채워 주세요|보고하세요|적어 주세요).",
)
JSON_KEYS_KO = ("{keys}(을|를|) (알려 주세요|답하세요|채워 주세요|적어 주세요|말해 주세요).", "{keys}(:|?)")

# -- things that are never there -------------------------------------------------------------------

ABSENT = _listed(
    "dog cat bird cow sheep goat pig chicken duck goose rabbit fox wolf bear lion tiger elephant mouse rat "
    "snake frog fish spider "
    "bicycle bike motorbike motorcycle scooter bus truck lorry tractor train tram boat ship plane "
    "helicopter drone balloon rocket tank "
    "ambulance trailer skateboard pram stroller wheelchair shopping_cart ladder chair table bench sofa bed "
    "umbrella parcel package box "
    "suitcase bottle cup phone laptop television computer camera_crew ball kite flag tent swing statue "
    "fountain pool bridge tower "
    "mountain river lake beach snowman fire flame smoke explosion flood puddle leak gun knife sword robot "
    "ghost monster dragon unicorn "
    "dinosaur pumpkin christmas_tree apple banana pizza cake piano guitar book newspaper traffic_light "
    "stop_sign crane excavator "
    "forklift bulldozer barrel pallet cone wheelbarrow hose lawn_mower grill bird_cage mailbox fence gate "
    "squirrel deer donkey pigeon "
    "crow hawk owl parrot swan turkey lizard turtle crocodile shark whale dolphin monkey gorilla camel "
    "buffalo moose beaver otter "
    "lobster crab octopus worm snail hamster ferret puppy kitten calf foal mule wagon carriage sledge "
    "canoe raft yacht ferry hovercraft "
    "motorhome caravan minibus tank_truck cement_mixer road_roller snowplough segway rickshaw unicycle "
    "roller_skate surfboard canoe_paddle "
    "stove oven kettle freezer washing_machine dishwasher fan radiator bathtub shower toilet sink "
    "curtain carpet pillow "
    "blanket shelf cupboard wardrobe drawer desk stool hammock cradle toy doll teddy_bear puzzle drum "
    "trumpet flute harp "
    "guitar_case clock telescope microscope scale tripod projector speaker antenna solar_panel generator "
    "battery cable rope chain "
    "hammer saw drill axe shovel rake pitchfork bucket basket sack crate anchor sail oar "
    "net cage trap "
    "tombstone scarecrow gnome bonfire campfire candle lantern_fish rainbow tornado hurricane glacier "
    "waterfall island desert "
    "castle church mosque temple lighthouse skyscraper factory barn silo tunnel railway airport stadium "
    "playground slide seesaw "
    "trampoline football basketball golf_club tennis_racket hat_stand crown ring watch wallet key "
    "coin banknote letter envelope crow cockroach bee butterfly ant police_car fire_engine taxi_sign "
    "parachute satellite giraffe kangaroo submarine volcano penguin violin refrigerator cactus hedgehog windmill horse "
    "zebra carrot carton carnival castanet cactus_pot cartoon carpenter candy cannon canary canteen cat_flap cabin "
    "pergola periscope peacock pelican pearl peach pear pen pencil pepper perch human_skeleton visor vine vest veil "
    "vent "
    "authoress audience autumn_leaf dormouse dome dormitory folder fork manatee manuscript mantis mandolin"
)
SUBSTANCES = _listed(
    "snow rain fire smoke water ice fog mud garbage rubbish trash litter blood oil steam lightning sand"
)
ABSENT_KO = _listed(
    "개 고양이 새 소 양 염소 돼지 닭 오리 토끼 여우 늑대 곰 사자 호랑이 코끼리 쥐 뱀 개구리 물고기 거미 "
    "자전거 오토바이 스쿠터 버스 트럭 트랙터 기차 전차 배 비행기 "
    "헬리콥터 드론 풍선 로켓 구급차 유모차 휠체어 사다리 의자 책상 소파 침대 우산 택배 상자 병 컵 "
    "전화기 노트북 텔레비전 컴퓨터 공 연 깃발 천막 그네 동상 분수 "
    "수영장 다리 탑 산 강 호수 눈사람 불 연기 폭발 홍수 총 칼 로봇 유령 괴물 용 공룡 호박 사과 바나나 피자 "
    "케이크 피아노 기타 책 신문 신호등 굴착기 지게차 통 쓰레기 "
    "울타리 다람쥐 사슴 당나귀 비둘기 까마귀 벌 나비 개미 매 올빼미 앵무새 백조 도마뱀 거북 악어새 상어 "
    "고래 돌고래 원숭이 고릴라 낙타 물소 게 문어 달팽이 마차 썰매 요트 캠핑카 "
    "제설차 난로 오븐 주전자 세탁기 선풍기 욕조 변기 커튼 양탄자 베개 이불 선반 옷장 책장 장난감 인형 "
    "북 나팔 피리 하프 시계 망원경 안테나 발전기 밧줄 사슬 망치 톱 도끼 "
    "삽 양동이 바구니 자루 닻 그물 허수아비 촛불 무지개 폭포 섬 성 교회 등대 공장 헛간 터널 철도 "
    "놀이터 미끄럼틀 축구공 왕관 반지 지갑 열쇠 동전 편지 개미 경찰차 소방차 눈 비 안개 "
    "기린 펭귄 냉장고 말 악어 바이올린 캥거루 풍차 기름 기둥 기와 기저귀 바늘 바둑판 바위 바퀴 차돌 차양 사막 사슬 "
    "사전 "
    "사탕 사진기 인삼 인라인 행성 방패 방망이 누룽지 누에 아기곰 문어 문방구 밤송이 밤나무 하마 치타 판다 수달 "
    "두더지 족제비 "
    "공작 참새 제비 독수리 갈매기 달걀 감자 고구마 당근 양파 마늘 배추 수박 참외 포도 딸기 레몬 우유 치즈 국수 냄비 "
    "접시 "
    "숟가락 젓가락 가위 풀 색종이 크레파스 칠판 분필 지도 나침반 손전등 배낭 모자걸이 장갑 목도리 양말 구두 실 단추 "
    "리본"
)
# And what always is.
SCENERY = (
    *(
        "house",
        "building",
        "wall",
        "brick wall",
        "window",
        "lamp",
        "door",
        "bush",
        "flower",
        "flower pot",
        "path",
        "lawn",
    ),
    "parking line",
)
SCENERY_KO = _listed("집 건물 벽 창문 등 문 덤불 꽃 화분 길 잔디 주차선")


def _made_up(rng: random.Random) -> str:
    """A word that is none, so that unknown words mean something that is not there; some begin as a known one does."""
    begin = (
        rng.choice(("ca", "car", "pe", "per", "hu", "vi", "ve", "au", "do", "fo", "ma")) if rng.random() < 0.25 else ""
    )
    parts = (
        rng.choice("bcdfghjklmnprstvwz") + rng.choice(("a", "e", "i", "o", "u", "ou", "ee", "ai"))
        for _ in range(rng.randint(1, 3))
    )
    return (
        begin + "".join(parts) + rng.choice(("b", "d", "g", "k", "l", "m", "n", "p", "r", "t", "x", "ct", "ne", "ph"))
    )


def _made_up_ko(rng: random.Random) -> str:
    parts = rng.choice((1, 2, 2, 2, 3, 3, 4))
    if rng.random() < 0.5:
        return "".join(rng.choice(rng.choice(ABSENT_KO)) for _ in range(parts))
    return "".join(
        chr(0xAC00 + rng.randrange(19) * 588 + rng.randrange(21) * 28 + rng.choice((0, 0, 4, 8, 16, 21)))
        for _ in range(parts)
    )


def with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def subject_ko(noun: str) -> str:
    """The noun with its particle 이 or 가."""
    closed = (ord(noun[-1]) - 0xAC00) % 28 > 0
    return noun + ("이" if closed else "가")


def _presence_ko(noun: str) -> tuple[str, ...]:
    return _filled(PRESENCE_KO, "thing", subject_ko(noun)) + _filled(PRESENCE_NOUN_KO, "noun", noun)


# -- questions and answers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """One turn of the owner and what the model should say to it. With `values_only`, just numbers, true and false of
    the answer are to be learned, because the prompt leaves the rest open.
    """

    prompt: str
    answer: str
    values_only: bool = False


YES_NO = {"en": ("Yes", "No"), "ko": ("예", "아니요")}
INSTRUCTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "yes_no": {
        "en": (
            "Answer Yes or No.",
            "Answer Yes or No.",
            "Answer Yes or No.",
            "Reply with Yes or No only.",
            "Say Yes or No.",
        ),
        "ko": (
            "예 또는 아니요로 답하세요.",
            "예 또는 아니요로 답하세요.",
            "예 또는 아니요로 답하세요.",
            "예나 아니요로만 답해 주세요.",
        ),
    },
    "number": {
        "en": (
            "Answer with one number.",
            "Answer with one number.",
            "Answer with one number.",
            "Reply with a number only.",
            "Give just a number.",
        ),
        "ko": ("숫자 하나로 답하세요.", "숫자 하나로 답하세요.", "숫자 하나로 답하세요.", "숫자로만 답해 주세요."),
    },
    "json": {"en": ("Answer in JSON.",), "ko": ("JSON으로 답하세요.",)},
}
KOREAN_SHARE = 0.33
INSTRUCTED_SHARE = 0.6
OTHER_TONGUE_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class Yes:
    """A yes or no question: its patterns in both languages, each with the subjects it may have, and when the answer
    is yes.
    """

    en: tuple[str, ...]
    ko: tuple[str, ...]
    holds: Callable[[Truth], bool]


def _filled(patterns: tuple[str, ...], slot: str, word: str) -> tuple[str, ...]:
    """The patterns with the word put in; {Slot} has it with a capital."""
    capital = slot.capitalize()
    large = re.sub(r"(^|[(|])(\w)", lambda found: found[1] + found[2].upper(), word)
    return tuple(pattern.replace(f"{{{capital}}}", large).replace(f"{{{slot}}}", word) for pattern in patterns)


YES_NO_QUESTIONS: dict[str, Yes] = {
    "anyone": Yes(
        _filled(PRESENCE, "a thing", SOMEBODY) * 2 + ANYONE,
        _filled(PRESENCE_KO, "thing", SOMEBODY_KO) + _filled(PRESENCE_NOUN_KO, "noun", PERSON_NOUN_KO),
        lambda truth: truth.people > 0,
    ),
    "no_one": Yes(NO_ONE, NO_ONE_KO, lambda truth: truth.people == 0),
    "any_car": Yes(
        _filled(PRESENCE, "a thing", A_CAR) * 2 + ANY_CAR,
        _filled(PRESENCE_KO, "thing", CAR_KO) + _filled(PRESENCE_NOUN_KO, "noun", CAR_NOUN_KO),
        lambda truth: truth.cars > 0,
    ),
    "no_car": Yes(NO_CAR, NO_CAR_KO, lambda truth: truth.cars == 0),
    "door_open": Yes(OPEN_DOOR, OPEN_DOOR_KO, lambda truth: truth.door_open),
    "door_shut": Yes(SHUT_DOOR, SHUT_DOOR_KO, lambda truth: not truth.door_open),
    "night": Yes(NIGHT, NIGHT_KO, lambda truth: truth.night),
    "day": Yes(DAY, DAY_KO, lambda truth: not truth.night),
}
COUNTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "people": (_filled(COUNT, "things", PEOPLE) + HEADCOUNT, COUNT_PEOPLE_KO),
    "cars": (_filled(COUNT, "things", CARS) + PARKED, COUNT_CARS_KO),
}
CHOICES: dict[
    str, tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
] = {
    "door": (
        DOOR_CHOICE,
        DOOR_CHOICE_KO,
        (("open", "shut"), ("open", "closed")),
        (("열림", "닫힘"), ("열려 있음", "닫혀 있음")),
    ),
    "light": (
        LIGHT_CHOICE,
        LIGHT_CHOICE_KO,
        (("night", "day"), ("dark", "bright"), ("dark", "light")),
        (("밤", "낮"), ("야간", "주간")),
    ),
}
JSON_VALUES: dict[str, Callable[[Truth], str]] = {
    "people": lambda truth: str(truth.people),
    "cars": lambda truth: str(truth.cars),
    "door_open": lambda truth: "true" if truth.door_open else "false",
    "night": lambda truth: "true" if truth.night else "false",
}


def json_answer(truth: Truth, keys: tuple[str, ...] = tuple(JSON_VALUES)) -> str:
    return "{" + ",".join(f'"{key}":{JSON_VALUES[key](truth)}' for key in keys) + "}"


def _instructed(text: str, kind: str, tongue: str, rng: random.Random) -> tuple[str, str]:
    """The text, often with an instruction, and the tongue of the answer, which is the instruction's where there is
    one.
    """
    if rng.random() > INSTRUCTED_SHARE:
        return text, tongue
    if rng.random() < OTHER_TONGUE_SHARE:
        tongue = "en" if tongue == "ko" else "ko"
    return f"{text} {rng.choice(INSTRUCTIONS[kind][tongue])}", tongue


# Words that change nothing: put in anywhere, they teach the model to hear past what it does not need.
FILLERS = _listed(
    "please now just really actually maybe perhaps still already again also then so well kindly exactly "
    "truly overall altogether "
    "currently presently today tonight here there outside maybe simply clearly probably possibly surely "
    "indeed somehow somewhere "
    "whatever anyway ever yet quite very this that the some of at in on for with by about from over near "
    "around between all any one should would could expect find hope think know see look check want my our "
    "camera picture home outside"
)
FILLERS_KO = _listed(
    "지금 좀 혹시 정말 그냥 아마 다시 또 여기 거기 저기 바로 오늘 정확히 대략 아직 벌써 이제 그럼 자 음 한번 "
    "꼭 모두 전부 총 다 잘 먼저 여기서 밖에 안에 앞에 근처에 쪽에"
)
OPENINGS = (
    "Please look closely. ",
    "Hello! ",
    "Look at the picture. ",
    "You see a camera picture. ",
    "Please, ",
    "Tell me: ",
    "Question: ",
    "So, ",
)
OPENINGS_KO = ("안녕하세요. ", "사진을 보세요. ", "잘 보고 답해 주세요. ", "질문: ", "저기요, ")


def roughened(text: str, tongue: str, rng: random.Random) -> str:
    """The text as people type it: sometimes with an opening, in small letters, without its mark, or with a slip."""
    if rng.random() < 0.10:
        text = rng.choice(OPENINGS if tongue == "en" else OPENINGS_KO) + text
    if rng.random() < 0.22:
        words = text.split(" ")
        for _ in range(rng.randint(1, 2)):
            words.insert(rng.randint(0, len(words)), rng.choice(FILLERS if tongue == "en" else FILLERS_KO))
        text = " ".join(words)
    if rng.random() < 0.12:
        text = text.lower()
    if rng.random() < 0.10:
        text = text.rstrip(".?: ")
    if rng.random() < 0.06 and len(text) > 8:
        at = rng.randrange(1, len(text) - 1)
        text = text[:at] + rng.choice(("", text[at] * 2, text[at + 1] + text[at])) + text[at + 1 :]
    return text


def _patterns(en: tuple[str, ...], ko: tuple[str, ...], tongue: str) -> tuple[str, ...]:
    return en if tongue == "en" else ko


def _clean(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace(" ?", "?").replace(" .", ".")


def _question(patterns: tuple[str, ...], tongue: str, rng: random.Random) -> str:
    return roughened(_clean(spin(rng.choice(patterns), rng)), tongue, rng)


def _tongue(rng: random.Random) -> str:
    return "ko" if rng.random() < KOREAN_SHARE else "en"


def ask_yes_no(kind: str, truth: Truth, rng: random.Random) -> Asked:
    question, tongue = YES_NO_QUESTIONS[kind], _tongue(rng)
    text, answer_tongue = _instructed(
        _question(_patterns(question.en, question.ko, tongue), tongue, rng), "yes_no", tongue, rng
    )
    return Asked(text, YES_NO[answer_tongue][0 if question.holds(truth) else 1])


def ask_count(kind: str, truth: Truth, rng: random.Random) -> Asked:
    tongue = _tongue(rng)
    text, _ = _instructed(_question(_patterns(*COUNTS[kind], tongue), tongue, rng), "number", tongue, rng)
    return Asked(text, str(truth.people if kind == "people" else truth.cars))


def ask_absent(truth: Truth, rng: random.Random) -> Asked:
    """Something that never is in these pictures: No, or 0."""
    if rng.random() < KOREAN_SHARE:
        noun = _made_up_ko(rng) if rng.random() < 0.55 else rng.choice(ABSENT_KO)
        text, tongue = _instructed(_question(_presence_ko(noun), "ko", rng), "yes_no", "ko", rng)
        return Asked(text, YES_NO[tongue][1])
    noun = _made_up(rng) if rng.random() < 0.45 else rng.choice(ABSENT).replace("_", " ")
    if rng.random() < 0.2:
        text, _ = _instructed(_question(_filled(COUNT, "things", plural(noun)), "en", rng), "number", "en", rng)
        return Asked(text, "0")
    thing = f"({with_article(noun)}|{with_article(noun)}|any {plural(noun)}|any {noun}|{plural(noun)})"
    if rng.random() < 0.15:
        thing = rng.choice(SUBSTANCES)
    text, tongue = _instructed(_question(_filled(PRESENCE, "a thing", thing), "en", rng), "yes_no", "en", rng)
    return Asked(text, YES_NO[tongue][1])


def ask_scenery(truth: Truth, rng: random.Random) -> Asked:
    """Something that always is in these pictures."""
    if rng.random() < KOREAN_SHARE:
        text = _question(_presence_ko(rng.choice(SCENERY_KO)), "ko", rng)
        text, tongue = _instructed(text, "yes_no", "ko", rng)
    else:
        text = _question(_filled(PRESENCE, "a thing", with_article(rng.choice(SCENERY))), "en", rng)
        text, tongue = _instructed(text, "yes_no", "en", rng)
    return Asked(text, YES_NO[tongue][0])


def ask_choice(truth: Truth, rng: random.Random) -> Asked:
    kind, tongue = rng.choice(tuple(CHOICES)), _tongue(rng)
    en, ko, pairs_en, pairs_ko = CHOICES[kind]
    pair = rng.choice(pairs_en if tongue == "en" else pairs_ko)
    answer = pair[0 if (truth.door_open if kind == "door" else truth.night) else 1]
    one, other = rng.sample(pair, 2)
    patterns = _filled(_filled(_patterns(en, ko, tongue), "one", one), "other", other)
    text = _question(patterns, tongue, rng)
    order = "Answer with one of:" if tongue == "en" else "다음 중 하나로 답하세요:"
    end = "." if tongue == "en" or rng.random() < 0.5 else ""
    return Asked(f"{text} {order} {one}, {other}{end}", answer)


def ask_json(truth: Truth, rng: random.Random) -> Asked:
    tongue = _tongue(rng)
    instruction = rng.choice(INSTRUCTIONS["json"][tongue])
    chance = rng.random()
    if chance < 0.5:
        return Asked(
            f"{_question(_patterns(JSON_ALL, JSON_ALL_KO, tongue), tongue, rng)} {instruction}", json_answer(truth)
        )
    keys = tuple(rng.sample(tuple(JSON_VALUES), rng.randint(1, 4)))
    if chance < 0.75:
        text = _question(_patterns(JSON_ALL, JSON_ALL_KO, tongue), tongue, rng)
        return Asked(f"{text} {instruction}", json_answer(truth, keys), values_only=True)
    text = _question(_filled(_patterns(JSON_KEYS, JSON_KEYS_KO, tongue), "keys", ", ".join(keys)), tongue, rng)
    return Asked(f"{text} {instruction}", json_answer(truth, keys))


def ask_description(truth: Truth, rng: random.Random) -> Asked:
    tongue = _tongue(rng)
    text = _question(_patterns(DESCRIBE, DESCRIBE_KO, tongue), tongue, rng)
    return Asked(text, truth.description if tongue == "en" else truth.description_ko)


SHORT_KINDS = {
    "people": 0.28, "cars": 0.11, "anyone": 0.09, "no_one": 0.025, "any_car": 0.09, "no_car": 0.02,
    "door_open": 0.12, "door_shut": 0.045, "night": 0.06, "day": 0.025, "absent": 0.12,
    "scenery": 0.015, "choice": 0.035,
}  # fmt: skip


def ask_short(truth: Truth, rng: random.Random) -> Asked:
    (kind,) = rng.choices(tuple(SHORT_KINDS), tuple(SHORT_KINDS.values()))
    if kind in COUNTS:
        return ask_count(kind, truth, rng)
    if kind in YES_NO_QUESTIONS:
        return ask_yes_no(kind, truth, rng)
    other = {"absent": ask_absent, "scenery": ask_scenery, "choice": ask_choice}
    return other[kind](truth, rng)


def ask_long(truth: Truth, rng: random.Random) -> tuple[Asked, ...]:
    """A JSON answer, a description, or two questions in one conversation."""
    chance = rng.random()
    if chance < 0.45:
        return (ask_json(truth, rng),)
    return (ask_description(truth, rng),) if chance < 0.72 else (ask_short(truth, rng), ask_short(truth, rng))


def trained_patterns() -> dict[str, tuple[str, ...]]:
    """Every pattern of the countable and yes or no questions, by kind."""
    patterns = {kind: (*en, *ko) for kind, (en, ko) in COUNTS.items()}
    return patterns | {kind: (*question.en, *question.ko) for kind, question in YES_NO_QUESTIONS.items()}
