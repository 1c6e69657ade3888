//! Tables of abbreviations, and of the words around Roman numerals. No decisions.

/// Place of an abbreviation.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Anywhere, with or without a full stop.
    Any,
    /// With a full stop only: it is a word without.
    Stop,
    /// Before a figure, with or without a full stop.
    Figure,
    /// Before a name, with or without a full stop.
    Name,
    /// As `Any`. Before a capital the full stop is the end of a sentence.
    Ending,
}

/// The words of an abbreviation, and its place.
pub(super) fn abbreviation(word: &str) -> Option<(&'static str, Place)> {
    use Place::{Any, Ending, Figure, Name, Stop};
    Some(match word {
        "Mr" | "MR" => ("Mister", Any),
        "Mrs" | "MRS" => ("Missus", Any),
        "Ms" => ("Miz", Any),
        "Mx" => ("Mix", Name),
        "Messrs" => ("Messers", Any),
        "Prof" => ("Professor", Any),
        "prof" => ("professor", Stop),
        "Profs" => ("Professors", Any),
        "Rev" => ("Reverend", Name),
        "Hon" => ("Honorable", Stop),
        "Gen" => ("General", Stop),
        "Col" => ("Colonel", Stop),
        "Maj" => ("Major", Stop),
        "Capt" => ("Captain", Any),
        "Cmdr" => ("Commander", Any),
        "Lt" => ("Lieutenant", Any),
        "Sgt" => ("Sergeant", Any),
        "Cpl" => ("Corporal", Any),
        "Pvt" => ("Private", Any),
        "Adm" => ("Admiral", Stop),
        "Gov" => ("Governor", Stop),
        "Sen" => ("Senator", Stop),
        "Rep" => ("Representative", Stop),
        "Pres" => ("President", Stop),
        "Supt" => ("Superintendent", Any),
        "Insp" => ("Inspector", Any),
        "Det" => ("Detective", Stop),
        "Msgr" => ("Monsignor", Any),
        "Mme" => ("Madame", Any),
        "Mlle" => ("Mademoiselle", Any),
        "Brig" => ("Brigadier", Stop),
        "Atty" => ("Attorney", Stop),
        "Dir" => ("Director", Stop),
        "Treas" => ("Treasury", Stop),
        "Exec" => ("Executive", Stop),
        "Harv" => ("Harvard", Stop),
        "Dkt" => ("Docket", Stop),
        "Wm" => ("William", Stop),
        "Thos" => ("Thomas", Stop),
        "Chas" => ("Charles", Stop),
        "Geo" => ("George", Stop),
        "Jr" | "jr" => ("Junior", Any),
        "Sr" => ("Senior", Any),
        "Esq" => ("Esquire", Any),
        "vs" | "Vs" | "VS" => ("versus", Any),
        "v" => ("versus", Stop),
        "etc" | "Etc" => ("et cetera", Ending),
        "approx" | "Approx" => ("approximately", Any),
        "ca" | "Ca" => ("circa", Figure),
        "c" => ("circa", Figure),
        "cf" | "Cf" => ("compare", Any),
        "viz" => ("namely", Any),
        "al" => ("al", Stop),
        "aka" => ("also known as", Any),
        "AKA" => ("also known as", Any),
        "resp" => ("respectively", Any),
        "incl" | "Incl" => ("including", Any),
        "excl" => ("excluding", Any),
        "esp" => ("especially", Any),
        "est" | "Est" => ("established", Figure),
        "misc" | "Misc" => ("miscellaneous", Any),
        "max" | "Max" => ("maximum", Stop),
        "min" | "Min" => ("minimum", Stop),
        "avg" | "Avg" => ("average", Any),
        "temp" | "Temp" => ("temperature", Stop),
        "temps" => ("temperatures", Stop),
        "tel" | "Tel" => ("telephone", Any),
        "ext" | "Ext" => ("extension", Any),
        "dept" | "Dept" => ("department", Any),
        "govt" | "Govt" => ("government", Any),
        "intl" | "Intl" => ("international", Any),
        "natl" | "Natl" => ("national", Any),
        "assn" | "Assn" => ("association", Any),
        "assoc" | "Assoc" => ("associate", Stop),
        "asst" | "Asst" => ("assistant", Any),
        "mgr" | "Mgr" => ("manager", Any),
        "univ" | "Univ" => ("university", Any),
        "Inc" => ("Incorporated", Any),
        "Ltd" => ("Limited", Any),
        "Corp" => ("Corporation", Any),
        "Co" => ("Company", Stop),
        "Cos" => ("Companies", Stop),
        "Bros" => ("Brothers", Any),
        "Ave" => ("Avenue", Any),
        "Blvd" => ("Boulevard", Any),
        "Rd" => ("Road", Any),
        "Ln" => ("Lane", Stop),
        "Hwy" => ("Highway", Any),
        "Rte" | "Rt" => ("Route", Figure),
        "Fl" => ("Floor", Figure),
        "Pt" => ("Part", Figure),
        "Bk" => ("Book", Figure),
        "Pkwy" => ("Parkway", Any),
        "Sq" => ("Square", Stop),
        "Ct" => ("Court", Stop),
        "Pl" => ("Place", Stop),
        "Apt" => ("Apartment", Any),
        "apt" => ("apartment", Stop),
        "Bldg" | "bldg" => ("building", Any),
        "Mt" => ("Mount", Any),
        "Mts" => ("Mountains", Any),
        "Ft" => ("Fort", Name),
        "no" | "No" | "NO" | "Nr" | "nr" => ("number", Figure),
        "nos" | "Nos" => ("numbers", Figure),
        "p" => ("page", Figure),
        "pp" => ("pages", Figure),
        "pg" | "Pg" => ("page", Figure),
        "pgs" => ("pages", Figure),
        "fig" | "Fig" | "FIG" => ("figure", Figure),
        "figs" | "Figs" => ("figures", Figure),
        "eq" | "Eq" => ("equation", Figure),
        "eqs" | "Eqs" | "eqn" | "Eqn" => ("equations", Figure),
        "sec" | "Sec" | "sect" | "Sect" => ("section", Figure),
        "secs" | "Secs" => ("sections", Figure),
        "ch" | "Ch" | "chap" | "Chap" => ("chapter", Figure),
        "chs" | "Chs" => ("chapters", Figure),
        "vol" | "Vol" => ("volume", Figure),
        "vols" | "Vols" => ("volumes", Figure),
        "art" | "Art" => ("article", Figure),
        "arts" | "Arts" => ("articles", Figure),
        "Amend" => ("Amendment", Figure),
        "amend" => ("amendment", Figure),
        "cl" => ("clause", Figure),
        "Exh" | "exh" => ("exhibit", Figure),
        "Cir" => ("Circuit", Stop),
        "Const" => ("Constitution", Stop),
        "Stat" => ("Statutes", Figure),
        "Sched" => ("Schedule", Figure),
        "Tit" | "tit" => ("title", Figure),
        "Res" => ("Resolution", Figure),
        "Rul" => ("Ruling", Figure),
        "Sess" => ("Session", Figure),
        "Tr" => ("Transcript", Figure),
        "Thm" => ("theorem", Figure),
        "Lem" => ("lemma", Figure),
        "Prop" => ("proposition", Figure),
        "Def" => ("definition", Figure),
        "vv" => ("verses", Figure),
        "ll" => ("lines", Figure),
        "mm" => ("measures", Figure),
        "pt" => ("part", Figure),
        "bk" => ("book", Figure),
        "sat" => ("saturated", Figure),
        "Acct" | "acct" => ("account", Figure),
        "Pop" => ("population", Figure),
        "Elev" => ("elevation", Figure),
        "Cat" => ("category", Figure),
        "Mk" => ("Mark", Figure),
        "para" | "Para" => ("paragraph", Figure),
        "paras" => ("paragraphs", Figure),
        "tab" | "Tab" => ("table", Figure),
        "ref" | "Ref" => ("reference", Figure),
        "refs" | "Refs" => ("references", Figure),
        "b" => ("born", Figure),
        "d" => ("died", Figure),
        "fl" => ("flourished", Figure),
        "Ep" | "ep" => ("episode", Figure),
        "Plat" | "plat" => ("platform", Figure),
        "vis" | "Vis" => ("visibility", Figure),
        "lg" | "Lg" => ("large", Stop),
        "sm" | "Sm" => ("small", Stop),
        "med" => ("medium", Stop),
        "pkg" | "pkgs" => ("package", Stop),
        "thx" | "thnx" | "tnx" => ("thanks", Any),
        "Thx" => ("Thanks", Any),
        "pls" | "plz" => ("please", Any),
        "Pls" | "Plz" => ("Please", Any),
        "ppl" => ("people", Any),
        "btw" => ("by the way", Any),
        "idk" => ("I don't know", Any),
        "imo" => ("in my opinion", Any),
        "imho" => ("in my humble opinion", Any),
        "tbh" => ("to be honest", Any),
        "dep" | "Dep" => ("departing", Figure),
        "arr" | "Arr" => ("arriving", Figure),
        "YoY" | "yoy" => ("year over year", Any),
        "QoQ" | "qoq" => ("quarter over quarter", Any),
        "MoM" => ("month over month", Any),
        "lat" | "Lat" => ("latitude", Stop),
        "Op" | "op" => ("opus", Figure),
        "ver" | "Ver" => ("version", Figure),
        "app" | "App" => ("appendix", Stop),
        "eds" => ("editors", Stop),
        "ed" | "Ed" => ("edition", Stop),
        "repr" => ("reprint", Stop),
        "trans" => ("translated", Stop),
        "orig" => ("originally", Stop),
        "dia" => ("diameter", Stop),
        "diam" => ("diameter", Any),
        "ea" => ("each", Any),
        "qty" | "Qty" => ("quantity", Any),
        "hrs" | "hr" => ("hours", Stop),
        "mins" => ("minutes", Any),
        "yrs" => ("years", Any),
        "tsp" => ("teaspoon", Any),
        "tbsp" => ("tablespoon", Any),
        "oz" => ("ounces", Any),
        "lbs" => ("pounds", Any),
        "mph" => ("miles per hour", Any),
        "appt" => ("appointment", Any),
        "attn" | "Attn" => ("attention", Any),
        "Rm" | "rm" => ("room", Figure),
        "Ste" => ("Suite", Figure),
        "Wt" => ("weight", Any),
        "Ht" => ("height", Any),
        "wt" => ("weight", Stop),
        "ht" => ("height", Stop),
        "Sta" => ("Station", Stop),
        "WWI" => ("World War one", Any),
        "WWII" => ("World War two", Any),
        "tbd" | "TBD" => ("T B D", Any),
        _ => return None,
    })
}

/// True for abbreviations that a sentence may end with.
pub(super) fn is_ending(word: &str) -> bool {
    lists(ENDING, word)
}

const ENDING: &str = "Inc Ltd Corp Bros Ave Blvd Rd Hwy Pkwy Jr jr Sr Esq etc Etc oz lbs mins yrs govt dept Dept tsp tbsp \
     resp Bldg bldg mph";

/// Abbreviations with several full stops.
pub(super) fn dotted(run: &str) -> Option<&'static str> {
    Some(match run {
        "e.g" | "E.g" => "for example",
        "i.e" | "I.e" => "that is",
        "a.k.a" => "also known as",
        "w.r.t" => "with respect to",
        "n.b" | "N.B" => "note well",
        "p.a" => "per year",
        "Ph.D" => "P H D",
        "M.Sc" => "M S C",
        "B.Sc" => "B S C",
        "a.m" | "A.M" => "A M",
        "p.m" | "P.M" => "P M",
        "U.S" => "U S",
        "U.K" => "U K",
        "U.N" => "U N",
        "E.U" => "E U",
        "D.C" => "D C",
        "U.S.A" => "U S A",
        "U.S.C" => "U S C",
        "C.F.R" => "C F R",
        _ => return None,
    })
}

/// Sources of law, and the words of each.
pub(super) const CITATIONS: &[(&str, &str)] = &[
    ("Fed. R. Civ. P.", "Federal Rule of Civil Procedure"),
    ("Fed. R. Crim. P.", "Federal Rule of Criminal Procedure"),
    ("Fed. R. App. P.", "Federal Rule of Appellate Procedure"),
    ("Fed. R. Bankr. P.", "Federal Rule of Bankruptcy Procedure"),
    ("Fed. R. Evid.", "Federal Rule of Evidence"),
    ("F. Supp. 2d", "Federal Supplement second"),
    ("F. Supp. 3d", "Federal Supplement third"),
    ("F. Supp.", "Federal Supplement"),
    ("S. Ct.", "Supreme Court"),
    ("L. Ed. 2d", "Lawyers' Edition second"),
    ("Pub. L.", "Public Law"),
    ("Rev. Rul.", "Revenue Ruling"),
    ("Rev. Proc.", "Revenue Procedure"),
    ("Treas. Reg.", "Treasury Regulation"),
    ("H. Res.", "House Resolution"),
    ("S. Res.", "Senate Resolution"),
    ("L. Rev.", "Law Review"),
    ("Cal. Civ.", "California Civil"),
    ("Cal. Penal", "California Penal"),
    ("Gen. Bus. Law", "General Business Law"),
    ("Ga. Code Ann.", "Georgia Code Annotated"),
    ("Fla. Stat.", "Florida Statutes"),
    ("Rt. Hon.", "Right Honorable"),
    ("Phys. Rev. Lett.", "Physical Review Letters"),
    ("Phys. Rev.", "Physical Review"),
    ("Proc. Natl. Acad. Sci.", "Proceedings of the National Academy of Sciences"),
    ("J. Am. Chem. Soc.", "Journal of the American Chemical Society"),
    ("N. Engl. J. Med.", "New England Journal of Medicine"),
    ("Cong. Rec.", "Congressional Record"),
];

/// Nouns before a Roman numeral that is read as a number.
pub(super) fn is_numbered(word: &str) -> bool {
    lists(NUMBERED, word)
}

const NUMBERED: &str = "Chapter chapter Part part Volume volume Act act Scene scene Section section Book book Phase phase \
     Type type Class class Figure figure Table table Appendix appendix Title title Article article Level \
     level Stage stage Grade grade Mark Bowl War Episode episode Season Vatican Fantasy Rocky Apollo \
     Saturn Division Group Tier Schedule Pentium Amendment Canto Mk Unit Module Step Vol vol Ch ch Sect Ep ep \
     No no Art art Amend amend Pt Bk pt bk Sched App Tit tit Sec sec";

/// Names of rulers, before a Roman numeral that is an ordinal.
pub(super) fn is_regnal(word: &str) -> bool {
    lists(REGNAL, word)
}

const REGNAL: &str = "Henry Louis Elizabeth George Charles William Edward Richard James John Paul Pius Benedict Philip \
     Frederick Napoleon Catherine Nicholas Alexander Ivan Peter Leo Gregory Clement Innocent Urban \
     Wilhelm Otto Rama Ramses Ramesses Ptolemy Mary Friedrich Robert Henri Carlos Felipe Juan Haakon \
     Harald Christian Gustav Gustavus Margaret Margrethe Leopold Albert Rudolf Franz Francis Ferdinand \
     Maximilian Darius Xerxes Cleopatra Thutmose Amenhotep Seti Sixtus Boniface Julius Adrian Celestine \
     Eugene Victor Umberto Alfonso Sancho Pedro Manuel Mehmed Murad Selim Bayezid Constantine Theodosius \
     Valentinian Malcolm David Kenneth Olaf Eric Erik Valdemar Casimir Sigismund Stephen Bela Ladislaus";

/// True if a list with spaces between its words has a word.
#[inline(never)]
pub(super) fn lists(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split_ascii_whitespace().any(|listed| listed == word)
}
