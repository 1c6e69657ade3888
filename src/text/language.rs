//! Tables of languages and characters for the segmenter. No decisions.

use super::boundary::Kind;

/// Words of one language, separated by spaces and written without the final dot.
///
/// A word in lower case matches in any case; one with a capital matches only as written, for abbreviations
/// that are also ordinary words ("Sat.", "sat.").
#[derive(Debug)]
pub(super) struct Language {
    tags: &'static str,
    /// Never the end of a sentence: "Dr.", "e.g.".
    pub(super) leading: &'static str,
    /// Not the end if a number follows ("No. 5"), else an ordinary word ("No. Try again.").
    pub(super) numbered: &'static str,
    /// The end of a sentence if a capital follows ("etc.", "Inc.").
    pub(super) ending: &'static str,
    /// The end of a sentence only if a word follows that starts sentences ("3 Mio.", "EE. UU.").
    pub(super) inner: &'static str,
    /// Words that start sentences and are not names. They decide after initials and dotted abbreviations.
    pub(super) starters: &'static str,
    /// Words that end no phrase, so that a line with one at its end goes on in the next: articles,
    /// conjunctions, prepositions.
    pub(super) joining: &'static str,
    /// Words that seldom end a phrase: adverbs that are prepositions too, auxiliary verbs.
    pub(super) particles: &'static str,
    /// Words before the name of a host or a file ("Open example.org").
    pub(super) naming: &'static str,
    /// True if a number with a dot is an ordinal ("3. Mai").
    pub(super) has_ordinals: bool,
}

/// Matched in every language.
pub(super) const COMMON: Language = Language {
    tags: "",
    leading: "dr prof vs cf e.g i.e ca",
    numbered: "no nr fig p pp vol art tel",
    ending: "etc",
    inner: "",
    starters: "",
    joining: "",
    particles: "",
    naming: "",
    has_ordinals: false,
};

const LANGUAGES: &[Language] = &[
    Language {
        tags: "en",
        leading: "mr mrs ms mx messrs attn Lieut Bp Amb Rev Hon Gen Lt Col Maj Capt Cmdr Sgt Cpl Adm Sen Rep Gov Pres Supt Fr \
                  Mt St Ste approx viz incl Msgr esp Mme Mlle Attn Pvt Pfc Insp Brig Asst Dkt Treas Exec Harv Wm Geo Chas Thos Jas Benj Jos Robt Edw Saml Edwd Danl",
        numbered: "col cols fol nn Fax agg ibid Ibid app bldg hwy rte ste pkwy dem Dem Lat lat Lon Dur Mob Cell Ph Reg mag Mag Arr Dep sc Sc att Att exp Exp Abs Suppl suppl Mod Ser Lic amt conf encl Amt Conf Encl Term Eqs Thm Lem Prop Def Tr Rul Res Sess qty wt ht temp pg acct Cat Pop Elev Mk Tab amend tit cl exh para nos figs vols ch chap sec sect eq ver rs Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov \
                   Dec Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun Hwy Rte Rt Apt Bldg Fl Rm Pt Bk Ex Op Ep Ps Pss \
                   ext est",
        ending: "ff seq inc ltd corp co bros jr sr esq ave blvd rd al",
        inner: "Alex excl Intl Govt Assn Nat Natl ed eds Ed Eds trans ref refs Am Phys Lett Proc Natl Acad Sci Chem Soc Engl Med Biol Math Appl Comput Eng Univ Inst Det Dir Atty Assoc Bus Sec Pt App Fed Civ Crim Evid Bankr Supp Cir Const Stat Pub Cong Rec Exh Sched",
        starters: "The They This That These Those There Then He She It We You I A An In On At But And Or So \
                   If When While What Who Where Why How Yes No Now Not My Our Your His Her Its Their For \
                   From To As After Before Also However Although Because Since Once Let Please Here Today \
                   Tomorrow Some All Both Each Every Most Many Nobody Nothing Everyone Everybody Everything Somebody \
                   Someone Something",
        joining: "a an the of to for from with and or but nor as at than that which who whose whom if \
                   when while my your his her its our their these those into onto between without \
                   within against per via",
        particles: "in on by up off out over about after before under through down around along this \
                   because is are was were be been am has have had do does did will would shall should \
                   can could may might must not no",
        naming: "open visit see browse edit load download install import run launch ping fetch check try use \
                   read join like view contact email mail curl clone ask start search reload delete rename copy \
                   save close",
        has_ordinals: false,
    },
    Language {
        tags: "de",
        leading: "gestr geh Bd Be Urt Beschl erm Hd rel exkl Msp Stk med Gl Pkg Pck ggü Vj Aufl Tbl tgl engl frz ital span österr schweiz amerik russ griech vorm nachm hl Hl hr fr frl bzw bspw vgl z.b d.h u.a z.t evtl ggf inkl exkl zzgl sog st mag dipl ing geb \
                  gest gem lt Az BGBl ev kath dt mind ehem verh zw allg bes urspr",
        numbered: "Rn Ziff max Di Mi Do Fr Sa So Mo nrn abb abs bd kap s str tab Jan Feb Apr Jun Jul Aug Sep Sept Okt Nov Dez",
        ending: "usw usf u.s.w etc",
        inner: "Co Mio Mrd Tsd Bio Pkt Std Min Sek min",
        starters: "Der Die Das Dem Den Ein Eine Er Sie Es Wir Ich Ihr Du Und Aber Oder Doch Dann Da Dort \
                   Hier Wenn Weil Als Nach Vor Im In Am An Auf Bei Mit Für Von Zu Bitte Danach Diese Dieser \
                   Dieses Was Wer Wie Wo Warum Heute Jetzt Nun Auch Nur Nicht Man Alle Kein Keine Ja Nein",
        joining: "der die das dem den des ein eine einen einem einer eines und oder aber sondern denn \
                   dass weil wenn als ob von zu zum zur mit nach bei für über unter im am in ins vom \
                   beim durch gegen ohne um kein keine mein dein sein ihr unser euer wie",
        particles: "ist sind war waren hat haben hatte wird werden wurde kann können muss soll nicht",
        naming: "öffne öffnen besuche besuchen siehe unter auf bei über sieh lade starte bearbeite",
        has_ordinals: true,
    },
    Language {
        tags: "fr",
        leading: "m mm mme mmes mlle mlles me mgr st ste av env c.-à-d p.ex ex éd dr pr",
        numbered: "réf dép arr lun mar mer jeu ven sam dim max min al th ibid n chap éd fasc t tél janv févr avr juil sept oct nov déc",
        ending: "cie",
        inner: "bd boul pl imp apr",
        starters: "Le La Les Un Une Des Il Elle Ils Elles On Je Tu Nous Vous Ce Cette Ces Cela Et Mais Ou \
                   Donc Or Car Si Quand Comme Dans En À Au Aux Pour Par Sur Avec Sans Puis Ensuite Oui Non \
                   Mon Ma Mes Son Sa Ses Qui Que Quoi Où Ici Là",
        joining: "le la les un une des du de et ou mais donc que qui dont où à au aux en dans par pour \
                   sur avec sans sous chez entre vers mon ma mes ton ta tes son sa ses notre votre leur \
                   ce cet cette ces si quand comme",
        particles: "est sont était a ont avait ne pas",
        naming: "ouvre ouvrez visite visitez voir voyez consulte consultez sur éditez",
        has_ordinals: false,
    },
    Language {
        tags: "es ca gl",
        leading: "dra aprox cía ed sr sra sres srta d dña dn ud uds vd gral cnel lic ing arq p.ej ej av avda sto sta",
        numbered: "vto fra tfno sal lleg lun mié jue vie sáb dom km máx mín min núm cap pág págs ej s ene feb abr jun jul ago sept oct nov dic",
        ending: "cía s.a",
        inner: "EE UU JJ OO RR HH FF AA CC DD SS MM mill",
        starters: "El La Los Las Un Una Él Ella Ellos Yo Tú Nosotros Esto Este Esta Y Pero O Si Cuando Como \
                   En Con Sin Por Para De Después Luego Sí No Mi Su Qué Quién Dónde Aquí Hoy Ya Es",
        joining: "el la los las un una unos unas de del y e o u pero que quien cuyo a al en con por \
                   para sin sobre entre hasta desde mi tu su nuestro este esta si cuando como se",
        particles: "es son era fue ha han no",
        naming: "abre abra visita visite consulta consulte ver vea edita",
        has_ordinals: false,
    },
    Language {
        tags: "it",
        leading: "sig sigg sig.ra sig.na dott dott.ssa ing avv arch geom on s p.es ad.es",
        numbered: "n pag pagg cap Gen Feb Mar Apr Mag Giu Lug Ago Set Ott Nov Dic",
        ending: "ecc s.p.a s.r.l",
        inner: "",
        starters: "Il Lo La I Gli Le Un Una Lui Lei Loro Io Tu Noi Voi Questo Questa E Ma O Se Quando Come \
                   In Con Per Da Di A Poi Sì No Mio Suo Che Chi Dove Qui Oggi È",
        joining: "il lo la i gli le un uno una di del della dei delle e o ma che chi cui a al alla in \
                   nel nella con per da dal tra fra su sul mio tuo suo questo questa se quando come si",
        particles: "è sono era ha hanno non",
        naming: "apri aprite visita visitate vedi consulta modifica",
        has_ordinals: false,
    },
    Language {
        tags: "pt",
        leading: "sr sra srs srta d dra profa eng exmo exma p.ex av",
        numbered: "n núm cap pág págs Jan Fev Abr Jun Jul Ago Set Out Nov Dez",
        ending: "cia ltda s.a",
        inner: "",
        starters: "O A Os As Um Uma Ele Ela Eles Eu Tu Nós Você Isto Isso Este Esta E Mas Ou Se Quando Como \
                   Em No Na Com Por Para De Depois Sim Não Meu Seu Que Quem Onde Aqui Hoje É",
        joining: "o a os as um uma de do da dos das e ou mas que quem em no na nos nas com por para \
                   sem sobre entre até meu seu este esta se quando como",
        particles: "é são era foi tem não",
        naming: "abra abre visite visita veja consulte edite",
        has_ordinals: false,
    },
    Language {
        tags: "nl",
        leading: "dhr mevr mw mej drs ir mr ing ds bv bijv d.w.z o.a m.b.t t.o.v z.g.a.n",
        numbered: "blz hfst afb Jan Feb Mrt Apr Jun Jul Aug Sept Okt Nov Dec",
        ending: "enz e.d",
        inner: "",
        starters: "De Het Een Hij Zij Ze Wij We Ik Jij Je U Dit Dat Deze Die En Maar Of Als Toen Dan Daar \
                   Hier In Op Aan Met Voor Van Naar Na Ja Nee Mijn Zijn Wat Wie Waar Er Nu Vandaag",
        joining: "de het een en of maar dat die van te ten ter in op aan met voor naar bij door uit om \
                   over tot geen mijn jouw haar ons hun deze als wanneer",
        particles: "is zijn was heeft hebben wordt kan moet niet",
        naming: "open bezoek zie bekijk",
        has_ordinals: false,
    },
    Language {
        tags: "no nb nn da sv",
        leading: "hr fr frk bl.a f.eks t.ex d.v.s dvs fx ev evt inkl jf jfr kl mht s.k st tlf",
        numbered: "kap s sid side nr jan feb apr jun jul aug sep sept okt nov dec des",
        ending: "osv m.m m.fl mv o.l o.s.v",
        inner: "",
        starters: "Det Den De En Et Ett Han Hun Hon Vi Jeg Jag Du Dette Detta Og Och Men Eller Hvis Om Når \
                   När Så Da Då Der Där Her Här I På Med For För Til Till Fra Från Ja Nei Nej Min Sin Hva \
                   Hvad Vad Nå Nu",
        joining: "den det de en et ei ett og och eller men at att som i på av af til till fra från for \
                   för med om ved hos min din sin denne dette når när hvis",
        particles: "er är var har hadde hade skal ska vil kan må ikke inte ikkje",
        naming: "åpne åbn öppna besøk besøg besök se rediger",
        has_ordinals: true,
    },
    Language {
        tags: "el",
        leading: "κ κα κος κκ π.χ δηλ βλ αγ καθ",
        numbered: "αρ σελ τόμ κεφ άρθ",
        ending: "κ.λπ κλπ κ.ά",
        inner: "",
        starters: "Ο Η Το Οι Τα Ένας Μια Αυτός Αυτή Αυτό Εγώ Εσύ Εμείς Και Αλλά Αν Όταν Στο Στη Με Για Από \
                   Ναι Όχι Τι Πού Πώς Εδώ Εκεί",
        joining: "ο η το οι τα του της των τον την ένας μια ένα και ή αλλά ότι που σε στο στη στον \
                   στην με για από μη να θα αν όταν",
        particles: "είναι ήταν έχει δεν",
        naming: "",
        has_ordinals: false,
    },
];

/// Abbreviations that end a sentence if a capital follows, as words do, and that lower case continues.
pub(super) const CLIPPED: &str = "dept est max min misc avg approx temp resp cont tbsp tsp oz lb lbs hr hrs sec secs mins wk \
     yr yrs gal pt qt assoc univ intl natl orig obs ref rel anon abbr adj adv pron conj prep syn \
     ant lit attr Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun Capt Insp Atty Bldg Apt Ste Rte Hwy \
     Ft Mts Calif Mass Penn Wash Tex Ariz Colo Conn Del Ill Ind Kan Minn Miss Mont Neb Nev Okla \
     Ore Tenn Wis Wyo Alas st inc excl incl attn ea exp dur std dev opp alt ref mag prev mgmt avail rev ed dir eds trans rev govt attn Comm Dist Educ Reg Ga Fla Pa Va Ala";

/// Units that are written with a full stop behind a figure.
pub(super) const UNITS: &str = "oz lb lbs tsp tsps tbsp tbsps tbs qt qts pt pts gal gals pkg pkgs doz in ins ft yd yds mi sq cu cm \
     mm km kg mg ml min mins hr hrs sec secs wk wks mo mos yr yrs ounces inches inch minutes c T Tbsp Tsp Tbs Tbl tbl tblsp \
     Tsps Tbsps TBSP TSP OZ LB LBS pkt pkts env btl sl C g gm gms kgs kms cms mls ozs Oz cc l ltr mtr mcg";

/// Units with a smaller one behind: "5 ft. 10 in. 180 lb.", "2 hr. 5 min."
pub(super) const SMALLER: &str = "ft in lb lbs hr hrs";

/// Units of a recipe.
pub(super) const KITCHEN: &str = "oz lb lbs tsp tsps tbsp tbsps tbs Tbsp Tsp qt qts pt pts gal pkg pkgs doz c T Tbs Tbl tbl tblsp Tsps Tbsps TBSP TSP OZ LB LBS pkt pkts env btl sl C g gm gms \
     kg kgs ml mls ozs Oz";

/// Abbreviations of labels that are units or words in other places: they need a figure behind, and none before.
pub(super) const LABELS: &str =
    "mi avail rev min max avg mm ll vv pt bk fl rm op dep arr vis plat pop elev alt";

/// Units of spoons and cups, behind which even an unknown name is an ingredient: "2 Tbs. Harissa".
pub(super) const SPOONS: &str =
    "tsp tsps tbsp tbsps tbs Tbsp Tsp Tbs Tbl tbl tblsp Tsps Tbsps TBSP TSP pkt pkts env c T";

/// Verbs with which a step of a recipe begins.
pub(super) const STEPS: &str = "Add Bake Beat Blend Boil Bring Brush Check Chill Chop Combine Cook Cool Cover Cut Dice Dissolve Do Drain Drop \
     Dust Fill Finally Finish First Flip Fold Fry Garnish Grate Grease Grill Heat Increase Just Keep Knead Leave Lower Make \
     Mash Measure Meanwhile Melt Mix Next Once Only Optional Peel Place Pour Preheat Press Put Reduce Refrigerate Remove Repeat \
     Rest Roast Roll Save Scatter Season Serve Set Shake Sift Simmer Slice Slowly Soak Spoon Spread Sprinkle Squeeze Stir \
     Store Strain Substitute Taste Tip Toast Top Toss Transfer Try Turn Use Wash Whisk Wait Work Wrap Yield Nobody Everyone";

/// Streets, before the side of a town or the part of a house.
pub(super) const STREETS: &str = "Pkwy Ave Blvd Rd St Dr Ln Ct Pl Hwy Pkwy Sq Ter Cir";
pub(super) const SIDES: &str = "NW NE SW SE N S E W Apt Ste Suite Unit Rm Bldg Fl";

/// States before a source of law: "Fla. Stat.", "Ga. Code Ann."
pub(super) const STATES: &str = "Penn Ala Ariz Ark Cal Calif Colo Conn Del Fla Ga Ill Ind Kan Ky La Md Mass Mich Minn Miss Mo Mont Neb Nev \
     Okla Or Ore Pa Tenn Tex Va Vt Wash Wis Wyo Gen Bus Rev";
pub(super) const LAWS: &str =
    "Stat Code Const Rev Gen Civ Penal Admin Crim Evid Fam Prob Bus Law Laws Comp App Super Supp Reg Ann";

/// True for the name of a food, or of its origin: "Italian", "Dijon".
pub(super) fn names_food(name: &str) -> bool {
    let is_origin = ["ian", "ican", "san", "ish", "ese"].iter().any(|end| name.ends_with(end));
    is_origin && name.len() > 5
        || lists(
            "Dijon Worcestershire Greek Dutch French Swiss Thai German Cheddar Monterey Tabasco Sriracha Kosher Yukon \
             Roma Granny Splenda Bisquick Velveeta Jell Cool Crisco Kahlúa Grand Old Gouda Brie Feta Gruyère Gorgonzola \
             Romano Colby Pecorino Riesling Chardonnay Marsala Cajun Creole Medjool Oreo Nutella Cointreau Bourbon Madeira",
            name,
        )
}

/// First parts of well-known hosts, files and modules.
pub(super) const NAMES: &str = "example www github gitlab google amazon wikipedia reddit youtube facebook twitter booking \
     npmjs stackoverflow openai anthropic localhost node vue nuxt three next socket asp readme \
     config cargo makefile dockerfile package index main setup settings requirements os sys numpy \
     console docs crates foo bar baz self obj user math java json window document django flask pandas \
     string system array object request response std torch";

/// Things that have an address or a name, before "is" ("My email is jane.doe@example.org").
pub(super) const ADDRESSED: &str =
    "email mail address website site url link domain host server user username login handle";

/// Words that are no part of a host or a file after a verb or a preposition ("Open it.", "at home.").
pub(super) const NO_NAMES: &str = "one two three four five six seven eight nine ten eleven twelve it this that these those them him her me us you everything nothing something anything all \
     both one none up down in out on off over back away around here there now then again soon \
     later today tonight tomorrow yesterday too also first last next more less better well fine \
     ok okay below above inside outside home work school bed once least most night noon midnight \
     dawn dusk will play sea war peace risk hand heart length large lunch dinner breakfast church \
     court town sleep together alone ahead forward online offline twice nobody someone everyone \
     everybody anyone who what why how where when yourself myself himself herself itself \
     themselves ourselves yes no not please thanks mine yours ours theirs his hers late early \
     wide fast slow slowly quickly carefully hard harder closely right left";

/// Words between which and a verb no subject stands ("Please open example.org").
pub(super) const BEFORE_VERBS: &str = "please to and then or can could should must may might just now you will would also first \
     simply always not we don't let's i'll you'll we'll";

/// Words that make an ordinary noun of the next one ("an example").
pub(super) const BEFORE_NOUNS: &str = "a an the my your his her its our their this that these those some any no each every for one \
     another good bad great first last new old single simple common";

/// Words before a "to" that leads to a host ("Go to example.org").
pub(super) const GOING: &str = "go goes going gone went head heads heading over back navigate browse connect write writes \
     mail email send sent switch point subscribe log sign come turn";

/// Books of the Bible. Many are names of people too, so that only a chapter with a verse shows them.
pub(super) const BOOKS: &str = "Gn Exod Lev Num Deut Dt Josh Judg Jdg Sam Kgs Chr Chron Neh Esth Psa Prov Prv Eccl Eccles \
     Isa Jer Lam Ezek Dan Hos Mic Hab Zech Mal Matt Mk Lk Jn Rom Cor Gal Eph Phil Thess Thes Tim Heb Jas Pet";

/// Books that are names of people: only a verse, or a mark behind the chapter, shows them.
pub(super) const NAMED_BOOKS: &str = "Josh Sam Jer Dan Mic Hab Mal Matt Gal Phil Tim Pet Lam Num";

/// Abbreviations of weekdays, and of the months that may follow them.
pub(super) const WEEKDAYS: &str = "Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun";
pub(super) const MONTHS: &str = "January February March April June July August September October November December Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec";

/// Words before "St." that make it a saint, not a street.
pub(super) const PLACES: &str = "mount mt port fort east lake";

impl Language {
    /// Returns the language of a tag such as "de-AT"; English if there is no tag or no table for it.
    pub(super) fn of(tag: Option<&str>) -> &'static Language {
        let primary = tag.and_then(|t| t.split(['-', '_']).next()).unwrap_or("en");
        let spoken = |l: &&Language| l.tags.split(' ').any(|t| t.eq_ignore_ascii_case(primary));
        LANGUAGES.iter().find(spoken).unwrap_or(&LANGUAGES[0])
    }

    pub(super) fn is(&self, tag: &str) -> bool {
        self.tags == tag
    }
}

/// A language of the table as the first of its tags.
pub(super) mod by_tag {
    use super::Language;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::text) fn serialize<S: Serializer>(
        language: &&'static Language,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(language.tags.split(' ').next().unwrap_or_default())
    }

    pub(in crate::text) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'static Language, D::Error> {
        let tag = String::deserialize(deserializer)?;
        Ok(Language::of(Some(&tag)))
    }
}

/// True if the space-separated `list` contains `word`.
#[inline(never)]
pub(super) fn lists(list: &str, word: &str) -> bool {
    names(list, word) || word.contains(char::is_uppercase) && names(list, &word.to_lowercase())
}

/// The same, in the case that it has there.
pub(super) fn names(list: &str, word: &str) -> bool {
    let Some(first) = word.chars().next() else { return false };
    let is_end = |c: Option<&u8>| c.is_none_or(u8::is_ascii_whitespace);
    let bytes = list.as_bytes();
    // Hostile text is looked up all the time: this search reads several bytes at once.
    list.match_indices(first).any(|(at, _)| {
        is_end(at.checked_sub(1).map(|before| &bytes[before]))
            && bytes[at..].starts_with(word.as_bytes())
            && is_end(bytes.get(at + word.len()))
    })
}

/// Returns the kind of a sentence terminator.
pub(super) fn terminator(c: char, language: &Language) -> Option<Kind> {
    Some(match c {
        '.' | '．' => Kind::Stop,
        '…' | '‥' => Kind::Ellipsis,
        '!' | '?' | '‼' | '⁇' | '⁈' | '⁉' | '‽' | '\u{37e}' => Kind::Strong,
        ';' if language.is("el") => Kind::Strong,
        '。' | '｡' | '！' | '？' | '।' | '॥' | '۔' | '؟' | '።' | '፧' | '፨' | '។' | '៕' | '။' | '։' | '܀'
        | '༎' => Kind::Wide,
        _ => return None,
    })
}

/// True if `list` contains the character. Most text is ASCII, so the list is not searched for it.
fn beyond_ascii(c: char, list: &str) -> bool {
    !c.is_ascii() && list.contains(c)
}

/// True for quotation marks of either side, closing brackets, and Markdown's emphasis.
pub(super) fn is_closer(c: char) -> bool {
    is_quote(c)
        || matches!(c, ')' | ']' | '}' | '*' | '_' | '`' | '~')
        || beyond_ascii(c, "」』】）］｝》〉｣〕")
}

/// True for quotation marks. Their side depends on the language, so the context decides.
pub(super) fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'') || beyond_ascii(c, "“”„‟‘’‚‛«»‹›＂")
}

/// True if a new word begins after the character, without a space.
pub(super) fn begins_word(c: char) -> bool {
    matches!(c, '(' | '[' | '{' | '"' | '*' | '`' | '>') || beyond_ascii(c, "“„«¿¡–—「『（【《")
}

/// True if a word may follow the character without a space, so that an abbreviation begins there: "‘Dr.", "Mr./Mrs."
pub(super) fn glues(c: char) -> bool {
    is_quote(c)
        || matches!(c, '/' | ':' | '_' | '=' | '+' | '&' | '~' | '(' | '[' | '{' | '|' | ';' | ',')
        || beyond_ascii(c, "…‥•→")
}

/// True if a clause may end here before white space.
pub(super) fn ends_clause(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | ')' | '،' | '؛')
}

/// True if the character follows its word without a space in every script, so that no line begins with it.
pub(super) fn is_punctuation(c: char) -> bool {
    ends_clause(c) || beyond_ascii(c, "，、；：") || terminator(c, &COMMON).is_some()
}

/// True if a clause may end here before any character.
pub(super) fn ends_clause_unspaced(c: char) -> bool {
    beyond_ascii(c, "—，、；：")
}

/// True for Chinese and Japanese: no spaces between words, and a line may break between any two characters.
pub(crate) fn is_ideographic(c: char) -> bool {
    matches!(c, '々' | '〇' | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9d}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Units, functions and letters that a raised figure is the exponent of, besides words of up to two letters.
pub(super) const BASES: &str = "inch inches foot feet yard yards mile miles meter meters metre metres kilometers kilometres \
     centimeters centimetres sec second seconds mol rad sin cos tan cot csc sinh cosh tanh log exp det dim bit bits kWh Pas \
     ohm ohms volt volts amp amps alpha beta gamma delta theta lambda sigma omega";

/// Words of two letters that are neither units nor variables.
pub(super) const SHORT_WORDS: &str =
    "am an as at be by do go if is it me my no of oh ok on or so to up us we";

/// True for scripts without spaces between words: also Thai, Lao, Tibetan, Myanmar, Khmer.
pub(super) fn is_unspaced(c: char) -> bool {
    is_ideographic(c) || matches!(c, '\u{e00}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
}

/// True for emoji and pictographs, and their parts (flags, joiners, keycaps): they decorate. A [sign](is_sign) among
/// them is none.
pub(crate) fn is_emoji(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{20e3}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{fe0f}'
        | '\u{1f000}'..='\u{1faff}' | '\u{e0020}'..='\u{e007f}')
        && !is_sign(c)
}

/// True for a symbol among the emoji that has a meaning of its own. A voice says its name, or warns that it has none.
///
/// They are planets, checked boxes, trigrams, chessmen, suits (without hearts), notes of music, dice, genders, figures
/// in circles, arrows, tiles, cards, letters in boxes, and the signs of a phone, a letter and a warning.
pub(crate) fn is_sign(c: char) -> bool {
    match c {
        '\u{2600}'..='\u{26ff}' => {
            matches!(c, '⚠' | '☎' | '☏' | '\u{2609}'..='\u{260d}' | '\u{2610}'..='\u{2613}'
            | '\u{2630}'..='\u{2637}' | '\u{263f}'..='\u{2647}' | '\u{2654}'..='\u{2660}'
            | '\u{2662}'..='\u{2664}' | '\u{2666}' | '\u{2667}' | '\u{2669}' | '\u{266d}'..='\u{266f}'
            | '\u{2673}'..='\u{2679}' | '\u{267e}' | '\u{2680}'..='\u{268f}' | '\u{26a2}'..='\u{26a9}'
            | '\u{26ad}'..='\u{26af}' | '\u{26e2}')
        }
        '\u{2700}'..='\u{27bf}' => matches!(c, '✆' | '✉' | '\u{2713}'..='\u{2718}' | '\u{2776}'..='\u{27af}'
            | '\u{27b1}'..='\u{27be}'),
        '\u{2b00}'..='\u{2bff}' => matches!(c, '\u{2b00}'..='\u{2b11}' | '\u{2b30}'..='\u{2b4f}'
            | '\u{2b5a}'..='\u{2bb9}' | '\u{2bbd}'..='\u{2bbf}' | '\u{2bd3}'..='\u{2bff}'),
        '\u{1f000}'..='\u{1faff}' => matches!(c, '\u{1f000}'..='\u{1f003}' | '\u{1f005}'..='\u{1f0ce}'
            | '\u{1f0d0}'..='\u{1f189}' | '\u{1f5f4}'..='\u{1f5f9}' | '\u{1f700}'..='\u{1f77f}'
            | '\u{1f7f0}' | '\u{1f800}'..='\u{1f8ff}'),
        _ => false,
    }
}

/// True for a sign that is spoken as a word even if a text has nothing else: "★★★★☆", "✓", "∞", "→". Braille is no
/// sign, but it has words.
pub(crate) fn is_spoken_sign(c: char) -> bool {
    match c {
        '★' | '☆' | '⭐' => true,
        '\u{2190}'..='\u{21ff}' | '\u{2800}'..='\u{28ff}' => true,
        // Without minus, slashes and dots.
        '\u{2200}'..='\u{22ff}' => !matches!(c, '−' | '∕'..='∙' | '∣' | '∼' | '⋅' | '⋮'..='⋱'),
        _ => is_sign(c),
    }
}

/// True for a mark that decorates a line which it begins, and is a word where it stands alone: "| Fast | ✅ | ❌ |".
pub(crate) fn is_lone_mark(c: char) -> bool {
    matches!(c, '✅' | '❌' | '❎')
}

/// The last position up to `at` at which a character of the text begins or ends, as in the standard library from
/// Rust 1.91 on.
pub(crate) fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// The first such position from `at` on.
pub(super) fn ceil_char_boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// True if a voice can say a text: it has a letter, a digit, or a sign that is a word or can be one.
pub(crate) fn is_speakable(text: &str) -> bool {
    text.chars().any(|c| c.is_alphanumeric() || is_spoken_sign(c) || is_lone_mark(c)) || is_lone_sign(text)
}

/// True for a text that is one sign with a name: "Which key?" "⌘". Beside other signs it may be a line or an ornament.
pub(crate) fn is_lone_sign(text: &str) -> bool {
    let mut signs = text.trim().trim_end_matches(['.', '!', '?', '\u{fe0f}']).chars();
    let first = signs.next();
    first.is_some_and(|c| "+%&=±×÷©®™$€£¥₹§¶♥⌘⌥⌃⇧⏎⌫⎋⇥℃℉№@#°<>√▲▼".contains(c)) && signs.next().is_none()
}

/// True if the character belongs to the one before it: combining marks, variation selectors, joiners, skin
/// tones. Approximate: it only improves the cuts of over-long text.
pub(super) fn extends(c: char) -> bool {
    match c {
        // The Indic blocks share one layout: signs at the start, vowel signs at 3A to 4D, marks around 51 and
        // 62.
        '\u{900}'..='\u{dff}' => {
            matches!(u32::from(c) & 0x7f, 0..=3 | 0x3a..=0x3c | 0x3e..=0x4d | 0x51..=0x57 | 0x62 | 0x63)
        }
        _ => {
            matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}'
                | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}'
                | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{eb1}'
                | '\u{eb4}'..='\u{ebc}' | '\u{ec8}'..='\u{ece}' | '\u{f71}'..='\u{f84}'
                | '\u{f8d}'..='\u{fbc}' | '\u{102b}'..='\u{103e}' | '\u{1160}'..='\u{11ff}'
                | '\u{17b4}'..='\u{17d3}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
                | '\u{200c}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}'
                | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
                | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
        }
    }
}
