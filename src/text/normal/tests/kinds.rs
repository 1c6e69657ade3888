//! Signs, names and notes, each kind as a table.

use super::super::normalize;

fn check(language: &str, cases: &[(&str, &str)]) {
    let differ: Vec<String> = cases
        .iter()
        .map(|(written, spoken)| (written, spoken, normalize(written, language).text.into_owned()))
        .filter(|(_, spoken, said)| *spoken != said)
        .map(|(written, spoken, said)| format!("{written}\n  expected {spoken}\n  said     {said}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn symbols_with_a_name_are_said_by_it() {
    check(
        "en",
        &[
            ("2 ✕ 3", "two times three"),
            ("3 ✖ 4 = 12", "three times four equals twelve"),
            ("Click ✕ to close.", "Click cross mark to close."),
            ("✖ failed", "cross mark failed"),
            ("A♠ K♥ 10♦ J♣", "A spades K hearts ten diamonds J clubs"),
            ("♥AK3 ♠Q52", "hearts AK3 spades Q52"),
            ("♘f3 ♗b5", "knight f3 bishop b5"),
            ("♘xf3", "knight takes f3"),
            ("2♂ and 3♀", "two male and three female"),
            ("5 ➕ 3 ➖ 1", "five plus three minus one"),
            ("8 ➗ 2", "eight divided by two"),
            (
                "✓ done ✗ failed ☐ open ☑ closed",
                "check mark done cross mark failed check box open check mark closed",
            ),
            ("Press → or ←", "Press right arrow or left arrow"),
            ("A ➜ B ➡ C", "A to B to C"),
            ("⬆ 5% ⬇ 3%", "up five percent down three percent"),
            ("🡒 next", "to next"),
            ("♩ = 120", "quarter note equals 120"),
            ("⚀ and ⚅", "die one and die six"),
            ("🂡 and 🃎", "ace of spades and king of diamonds"),
            ("❶ first ➋ second", "one first two second"),
            ("🅷🅴🅻🅻🅾", "HELLO"),
            ("♾ storage", "infinity storage"),
        ],
    );
}

#[test]
fn ratings_are_counted() {
    check(
        "en",
        &[
            ("Rating: ★★★☆☆", "Rating: three stars"),
            ("★☆☆☆☆", "one star"),
            ("☆☆☆☆☆", "zero stars"),
            ("★★★½", "three and a half stars"),
            ("4.5★", "four point five stars"),
            ("⭐⭐⭐⭐☆", "four stars"),
            ("Rated ⭐️⭐️⭐️", "Rated three stars"),
        ],
    );
}

#[test]
fn marks_alone_in_their_line_or_cell_are_words() {
    check(
        "en",
        &[
            ("Works offline: ✅", "Works offline: check mark"),
            ("| Fast | ✅ | ❌ |", "| Fast | check mark | cross mark |"),
            ("✅ Done", "✅ Done"),
            ("Done ✅", "Done ✅"),
        ],
    );
}

#[test]
fn dots_between_factors_are_times() {
    check(
        "en",
        &[
            ("2 · 3", "two times three"),
            ("2·3 = 6", "two times three equals six"),
            ("a·b", "a times b"),
            ("a ⋅ b", "a times b"),
            ("5 ∙ 3", "five times three"),
            ("x ∙ y = 3", "x times y equals three"),
            ("½ · 3", "one half times three"),
            ("(a+b)·(c−d)", "(a plus b) times (c minus d)"),
            ("F = m · a", "F equals m times a"),
            ("What is 2 · 3?", "What is two times three?"),
            ("2 · 3 is 6", "two times three is six"),
            ("N·m", "newton meters"),
            ("3x × 4", "three x times four"),
            ("10:00 · 5 min read", "ten · five minutes read"),
            ("4.5 · 120 reviews", "four point five · 120 reviews"),
            ("Home · About · Contact", "Home · About · Contact"),
            ("al·pha and paral·lel", "al·pha and paral·lel"),
        ],
    );
}

#[test]
fn differences_are_no_ranges() {
    check(
        "en",
        &[
            ("7 - 2", "seven minus two"),
            ("What is 10 - 5?", "What is ten minus five?"),
            ("100 - 20 = 80", "one hundred minus twenty equals eighty"),
            ("5 - 10 days", "five to ten days"),
            ("The score was 3 - 1.", "The score was three to one."),
            ("Real Madrid 3 - 1 Barcelona", "Real Madrid three to one Barcelona"),
            ("2020 - 2015", "twenty twenty to twenty fifteen"),
            ("\\sqrt{9-8}", "square root of {nine minus eight}"),
            ("sqrt(9-8)", "sqrt(nine minus eight)"),
            ("x -= 1", "x minus equals one"),
            ("x += 2", "x plus equals two"),
            ("x *= 2", "x times equals two"),
            ("i--", "i minus minus"),
            ("i++", "i plus plus"),
            ("for (;; i--)", "for (;; i minus minus)"),
            ("x[i]--;", "x[i] minus minus;"),
            ("(-∞, 5]", "(minus infinity, five]"),
            ("e^-x", "e to the power of minus x"),
            ("y=-2", "y equals minus two"),
            ("f(x) = -2x", "f of x equals minus two x"),
            ("$b = -3$", "b equals minus three"),
            ("$E = mc^2$", "E equals m c squared"),
            ("It costs $5 or $6.", "It costs five dollars or six dollars."),
            ("--flag and wait-- what", "--flag and wait-- what"),
        ],
    );
}

#[test]
fn ions_have_their_charge() {
    check(
        "en",
        &[
            ("SO4^2-", "S O four two minus"),
            ("SO4^{2-}", "S O four two minus"),
            ("SO4²⁻", "S O four two minus"),
            ("Na+ and Cl-", "N A plus and Cl minus"),
            ("Ca2+ and Fe3+", "C A two plus and F E three plus"),
            ("NH4+ and H3O+", "N H four plus and H three O plus"),
            ("K+ ions", "K plus ions"),
            ("C++ and a C+ grade", "C plus plus and a C plus grade"),
            ("Google+ and We + they", "Google plus and We plus they"),
            ("an A- and a B+", "an A minus and a B plus"),
        ],
    );
}

#[test]
fn figures_with_a_letter_can_be_names() {
    check(
        "en",
        &[
            ("3M makes tape.", "three M makes tape."),
            ("Shares of 3M rose 3%.", "Shares of three M rose three percent."),
            ("She works at 3M.", "She works at three M."),
            ("It raised $3M.", "It raised three million dollars."),
            ("by 3M users", "by three million users"),
            ("a total of 3M", "a total of three million"),
            ("3M-5M people", "three million to five million people"),
            ("Highway 4A", "Highway four A"),
            ("In March 5M people", "In March five million people"),
            ("Problem 3B is hard.", "Problem three B is hard."),
            ("Option 3A or 3B", "Option three A or three B"),
            ("Ticket 12B", "Ticket twelve B"),
            ("Llama 8B", "Llama eight B"),
            ("Revenue 5M", "Revenue five million"),
            ("Over 5M people", "Over five million people"),
            ("7B parameters", "seven billion parameters"),
            ("Section 2M", "Section two M"),
            ("Gate 5B", "Gate five B"),
            ("10c)", "ten C)"),
            ("10c) Find x.", "ten C) Find x."),
            ("(10c)", "(ten cents)"),
            ("4m. Find x.", "four M. Find x."),
            ("It is 4m. Then go.", "It is four meters. Then go."),
            ("Rule 10b-5", "Rule ten B-five"),
            ("10W-40", "ten W forty"),
        ],
    );
}

#[test]
fn codes_with_hyphens_and_zeros_are_no_ranges() {
    check(
        "en",
        &[
            ("Table 2-1", "Table two dash one"),
            ("Figure 3-2 shows it.", "Figure three dash two shows it."),
            ("Tables 2-1", "Tables two to one"),
            ("pages 3-5", "pages three to five"),
            ("5'-3'", "five prime to three prime"),
            ("5′→3′", "five prime to three prime"),
            ("the 3' end", "the three prime end"),
            ("the 5' fence", "the five foot fence"),
            ("5'-ATG-3'", "five prime-ATG-three prime"),
            ("FY24-FY26", "F Y twenty four to F Y twenty six"),
            ("1-800-FLOWERS", "one eight hundred, FLOWERS"),
            ("0042", "zero zero four two"),
            ("Agent 007.", "Agent double oh seven."),
            ("0.5 and 05", "zero point five and zero five"),
            ("Q1–Q3", "Q1 to Q3"),
            ("A1-A4", "A1 to A4"),
            ("September 4", "September fourth"),
            ("on September 11, 2001", "on September eleventh, two thousand one"),
            ("5 gr", "five grains"),
            ("500 gr", "five hundred grams"),
        ],
    );
}

#[test]
fn quotes_around_figures_are_no_feet_and_no_years() {
    check(
        "en",
        &[
            ("She said '24/7' works.", "She said 'twenty four seven' works."),
            ("A ratio of '16:9' is wide.", "A ratio of 'sixteen to nine' is wide."),
            ("'42' and '5-3'", "'forty two' and 'five to three'"),
            ("the '90s", "the nineties"),
            ("‘90s", "nineties"),
            ("class of '95", "class of ninety five"),
            ("a '08-'09 season", "a oh eight to oh nine season"),
            ("'95-96 season", "ninety five to ninety six season"),
            ("She is 6' tall.", "She is six feet tall."),
            ("It's 6'.", "It's six feet."),
        ],
    );
}

#[test]
fn raised_figures_are_powers_fractions_cents_or_notes() {
    check(
        "en",
        &[
            ("In 2020¹ it rose.", "In twenty twenty it rose."),
            ("1,000² people", "one thousand people"),
            ("5%³ of them", "five percent of them"),
            ("word¹ and word.²", "word and word."),
            ("Einstein¹ and Bohr²", "Einstein and Bohr"),
            ("(2020)¹", "(twenty twenty)"),
            ("10⁶ and 2¹⁰", "ten to the power of six and two to the power of ten"),
            ("x² + 1", "x squared plus one"),
            ("25²", "twenty five squared"),
            ("12 m² of floor", "twelve square meters of floor"),
            ("feet² and cos²", "feet squared and cos squared"),
            ("(a+b)²", "(a plus b) squared"),
            ("COVID-19² and 1,234.5²", "COVID-nineteen and one thousand two hundred thirty four point five"),
            ("f(3,5²)", "f of three,five squared"),
            ("①②③", "one two three"),
            ("1¹⁄₂ cups", "one and a half cups"),
            ("¹⁄₃ cup", "a third of a cup"),
            ("5³⁄₇", "five and three sevenths"),
            ("$19⁹⁹", "nineteen dollars ninety nine cents"),
            ("€4⁹⁹", "four euros ninety nine cents"),
        ],
    );
}

#[test]
fn sources_of_law_are_read() {
    check(
        "en",
        &[
            ("Art. I of it", "article one of it"),
            ("Art. II, § 2", "article two, section two"),
            ("U.S. Const. amend. XIV", "U S Constitution amendment fourteen"),
            ("Fed. R. Civ. P. 12", "Federal Rule of Civil Procedure twelve"),
            ("Fed. R. Evid. 403", "Federal Rule of Evidence 403"),
            ("Fed. R. Crim. P. 11(c)", "Federal Rule of Criminal Procedure eleven(c)"),
            ("42 U.S.C. § 1983", "forty two U S C section nineteen eighty three"),
            ("F. Supp. 2d 5", "Federal Supplement second five"),
            ("(9th Cir. 2001)", "(ninth Circuit two thousand one)"),
            ("cl. 3 and para. 4", "clause three and paragraph four"),
        ],
    );
}

#[test]
fn german_has_signs_and_abbreviations() {
    check(
        "de",
        &[
            ("5 Mio. € Umsatz", "fünf Millionen Euro Umsatz"),
            ("3 Mrd.", "drei Milliarden"),
            ("Die Hauptstr. 5 ist hier.", "Die Hauptstraße 5 ist hier."),
            ("7 - 2 = 5", "sieben minus 2 gleich 5"),
            ("7 - 2", "sieben minus 2"),
            ("5 - 10 Tage", "fünf bis 10 Tage"),
            ("x - 1 = 2", "x minus 1 gleich 2"),
            ("x -= 1", "x minus gleich 1"),
            ("i++ und C++", "i plus plus und C plus plus"),
            ("2 · 3 und 2 ✕ 3", "2 mal 3 und 2 mal 3"),
            ("(-∞, 5]", "(minus unendlich, 5]"),
            ("$b = -3$", "b gleich minus 3"),
            ("x² und 2020¹", "x zum Quadrat und 2020"),
            ("10^6", "10 hoch 6"),
            ("✓ fertig ✗ nicht", "Häkchen fertig Kreuz nicht"),
            ("A ➜ B", "A nach B"),
            ("Wertung: ★★★☆☆", "Wertung: drei Sterne"),
            ("♂ und ♀", "männlich und weiblich"),
            ("PLZ 01067", "PLZ null eins null sechs sieben"),
            ("z. T. und u. U. auch", "zum Teil und unter Umständen auch"),
            ("500 v. Chr. war", "500 vor Christus war"),
            ("Na+ Ca2+", "Na plus Ca2 plus"),
        ],
    );
}

#[test]
fn french_has_signs_and_abbreviations() {
    check(
        "fr",
        &[
            ("Tél. 01 23 45 67 89", "téléphone 01 23 45 67 89"),
            ("Il y a p. ex. Paris.", "Il y a par exemple Paris."),
            ("5 M€ et 3 Mds €", "cinq millions d'euros et trois milliards d'euros"),
            ("7 - 2 = 5", "sept moins 2 égale 5"),
            ("7 - 2", "sept moins 2"),
            ("x -= 1", "x moins égale 1"),
            ("2 · 3 et 2 ✕ 3", "2 fois 3 et 2 fois 3"),
            ("(-∞, 5]", "(moins infini, 5]"),
            ("✓ fait ✗ non", "coché fait croix non"),
            ("A ➜ B", "A vers B"),
            ("Note : ★★★☆☆", "Note : trois étoiles"),
            ("50 av. J.-C. et", "50 avant Jésus-Christ et"),
            ("x² en 2020¹", "x au carré en 2020"),
            ("0042", "zéro zéro quatre deux"),
        ],
    );
}

#[test]
fn spanish_has_signs_and_abbreviations() {
    check(
        "es",
        &[
            ("EE. UU. es grande.", "Estados Unidos es grande."),
            ("Los EE.UU. son", "Los Estados Unidos son"),
            ("JJ. OO. de 2024", "Juegos Olímpicos de 2024"),
            ("p. ej. esto", "por ejemplo esto"),
            ("5 mill. €", "cinco millones de euros"),
            ("7 - 2 = 5", "siete menos 2 igual a 5"),
            ("7 - 2", "siete menos 2"),
            ("x -= 1", "x menos igual a 1"),
            ("2 · 3 y 2 ✕ 3", "2 por 3 y 2 por 3"),
            ("(-∞, 5]", "(menos infinito, 5]"),
            ("✓ hecho ✗ no", "marcado hecho cruz no"),
            ("A ➜ B", "A a B"),
            ("Nota: ★★★☆☆", "Nota: tres estrellas"),
            ("x² en 2020¹", "x al cuadrado en 2020"),
            ("C/ Mayor 5", "calle Mayor 5"),
            ("0042", "cero cero cuatro dos"),
        ],
    );
}

#[test]
fn abbreviations_behind_other_text_are_read() {
    check(
        "en",
        &[
            ("‘Mr. Holmes!’ she cried.", "‘Mister Holmes!’ she cried."),
            ("‘Fig. 3’", "‘figure three’"),
            ("‘No. 10 is too.’", "‘number ten is too.’"),
            ("Mr./Mrs. Smith", "Mister / Missus Smith"),
            ("Well…Dr. Lee came", "Well…Doctor Lee came"),
            ("Name:Dr. Lee", "Name:Doctor Lee"),
            ("_Dr. Lee_ came", "_ Doctor Lee_ came"),
            ("my_no 5", "my no five"),
        ],
    );
}

#[test]
fn abbreviations_of_law_titles_and_labels_are_read() {
    check(
        "en",
        &[
            ("Treas. Reg. § 5", "Treasury Regulation section five"),
            ("Exec. Order No. 13", "Executive Order number thirteen"),
            ("H. Res. 5", "House Resolution five"),
            ("Cal. Civ. Code § 3", "California Civil Code section three"),
            ("N.Y. Gen. Bus. Law § 3", "N.Y. General Business Law section three"),
            ("112 Harv. L. Rev. 193", "112 Harvard Law Review 193"),
            ("Ga. Code Ann. § 5", "Georgia Code Annotated section five"),
            ("Fla. Stat. § 5", "Florida Statutes section five"),
            ("Dkt. No. 45", "Docket number forty five"),
            ("Rev. Rul. 99", "Revenue Ruling ninety nine"),
            ("2d Sess. 5 and 3d Cir. now", "second Session five and third Circuit now"),
            ("Attn. John and Mme. Curie", "attention John and Madame Curie"),
            ("Sec. Blinken", "Secretary Blinken"),
            ("Sec. 5", "section five"),
            ("Pt. Reyes and Pt. II", "Point Reyes and Part two"),
            ("Sr. Mary", "Sister Mary"),
            ("Thm. 3 and Prop. 3", "theorem three and proposition three"),
            ("vv. 12–14 and ll. 5–8", "verses twelve to fourteen and lines five to eight"),
            ("pt. II and bk. IV", "part two and book four"),
            ("5 mm. of rain", "five millimeters of rain"),
            ("Gen. 1 and Gen. Lee", "Genesis one and General Lee"),
            ("Rom. 8 and Isa. 40", "Romans eight and Isaiah forty"),
            ("Cat. 5 and Mk. II", "category five and Mark two"),
            ("(sat. 3 g)", "(saturated three grams)"),
            ("Phys. Rev. Lett. 12", "Physical Review Letters twelve"),
            ("J. Am. Chem. Soc. 2019", "Journal of the American Chemical Society twenty nineteen"),
        ],
    );
}

#[test]
fn formulas_between_dollar_signs_are_no_sums() {
    check(
        "en",
        &[
            ("There are $3$ apples", "There are three apples"),
            ("The answer is $15$.", "The answer is fifteen."),
            ("$10\\%$ and $-3$", "ten percent and minus three"),
            ("$n!$ and $x'$", "n factorial and x prime"),
            ("$v_{max}$", "v max"),
            ("$\\{1,2\\}$", "one,two"),
            ("$$E = mc^2$$", "E equals m c squared"),
            ("It is $$x = 5$$ here.", "It is x equals five here."),
            ("$90^\\circ$ and 90^{\\circ}", "ninety degrees and ninety degrees"),
            ("$25^\\circ\\text{C}$", "twenty five degrees Celsius"),
            ("$7.7\\,\\text{kW}$", "seven point seven kilowatts"),
            ("$7.7,\\text{kW}$ and $5\\ \\mathrm{J}$", "seven point seven kilowatts and five joules"),
            ("$9.8~\\mathrm{m/s}$", "nine point eight meters per second"),
            ("$3.1\\;\\text{cm}^2$", "three point one centimeters squared"),
            ("$x = 5\\,\\text{if}$", "x equals five  if"),
            (
                "240 kcal/serving and $5/seat",
                "two hundred forty kilocalories per serving and five dollars per seat",
            ),
            ("$\\vec{v}$ and $\\hat{x}$", "vector v and x hat"),
            ("$\\boxed{42}$", "forty two"),
            ("$\\angle ABC$", "angle ABC"),
            ("f'(x) = 2x", "f prime(x) equals two x"),
            // Sums stay sums.
            ("It costs $3 or $5.", "It costs three dollars or five dollars."),
            ("Pay $3, $4 and $5.", "Pay three dollars, four dollars and five dollars."),
            ("$5–$10", "five to ten dollars"),
            ("I have $5 and you have 3$.", "I have five dollars and you have three dollars."),
            ("US$5 and A$3", "five U S dollars and three Australian dollars"),
        ],
    );
    for (language, written, spoken) in [
        ("de", "Es sind $3$ und $$x = 5$$ hier.", "Es sind 3 und x gleich 5 hier."),
        ("fr", "Il y a $3$ ici.", "Il y a 3 ici."),
        ("es", "Hay $3$ aquí.", "Hay 3 aquí."),
    ] {
        check(language, &[(written, spoken)]);
    }
}

#[test]
fn a_minus_of_a_formula_is_heard() {
    check(
        "en",
        &[
            (
                "$x^{2} - 1$ and $2^{n+1} - 1$",
                "x squared minus one and two to the power of n plus one minus one",
            ),
            ("$\\frac{1}{2} - \\frac{1}{3}$", "one over two minus one over three"),
            ("$a_{1} - a_{2}$", "a one minus a two"),
            ("$\\sin x - \\cos x$", "sine x minus cosine x"),
            ("$\\alpha - \\beta$ and \\alpha - \\beta", "alpha minus beta and alpha minus beta"),
            ("$f(x) - g(x)$ and $A - B$", "f of x minus g of x and A minus B"),
            ("$3 - 2$ costs $5", "three minus two costs five dollars"),
            ("$5! - 4! = 96$", "five factorial minus four factorial equals ninety six"),
            ("$\\text{well-known} - x$", "well-known minus x"),
            ("x^{2} - 1 = 0", "x squared minus one equals 0"),
            // In words.
            ("profit = revenue - costs", "profit equals revenue minus costs"),
            ("ROI = (gain - cost) / cost", "R O I equals (gain minus cost) divided by cost"),
            ("tax - 5 = 3", "tax minus five equals three"),
            ("net = 100 - tax", "net equals 100 minus tax"),
            ("Discount = price - 10%", "Discount equals price minus ten percent"),
            ("Score = 3 × 4 - 2", "Score equals three times four minus two"),
            ("energy = mass * speed²", "energy equals mass times speed squared"),
            ("BMI = weight / height²", "BMI equals weight divided by height squared"),
            ("area = side² / 2", "area equals side squared divided by two"),
            // Dashes of prose, and ranges.
            ("color = red - the default", "color equals red - the default"),
            ("size = 5 - 10", "size equals five to ten"),
            ("timeout = 30 - how long to wait", "timeout equals thirty - how long to wait"),
            ("They came - late as ever - and left.", "They came - late as ever - and left."),
            ("Pay $3 - $5 now", "Pay three to five dollars now"),
            ("C:\\temp - \\server here", "C backslash temp - \\server here"),
            ("a -> b and $a -> b$", "a to b and a to b"),
            ("See the height² of it", "See the height of it"),
        ],
    );
}

#[test]
fn marks_of_tex_are_words() {
    check(
        "en",
        &[
            ("$|x| + |y| = 3$", "absolute value of x plus absolute value of y equals three"),
            ("$\\left| x \\right|$", "absolute value of x "),
            ("$\\|v\\|$ and $||v||$", "norm of v and norm of v"),
            ("$\\{x | x > 0\\}$", "x such that x greater than 0"),
            ("$P(A|B) = 0.5$", "P(A given B) equals zero point five"),
            ("$\\sqrt[3]{27} = 3$", "cube root of twenty seven equals three"),
            ("$\\sqrt[n]{x}$ and $\\sqrt[4]{16}$", "n th root of x and fourth root of sixteen"),
            ("$1{,}000{,}000$", "one million"),
            ("$\\text{Total} = \\$5 \\times 3$", "Total equals five dollars times three"),
            ("$f''(x)$", "f double prime(x)"),
            ("$\\hat{\\beta}$", "beta hat"),
            ("$\\log_2 8$", "log base 2 eight"),
            ("$x^*$ and $n \\choose k$", "x star and n choose k"),
            ("$\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}$", "matrix a , b , c , d "),
            ("\\begin{align} x &= 1 \\\\ y &= 2 \\end{align}", " x equals one , y equals two "),
            ("$\\begin{array}{cc} 1 & 2 \\end{array}$", " one , two "),
            ("R & D, Smith & Sons", "R and D, Smith and Sons"),
        ],
    );
}

#[test]
fn products_of_variables_are_operands() {
    check(
        "en",
        &[
            ("b^2 - 4ac", "b squared minus 4ac"),
            ("\\sqrt{b^2 - 4ac}", "square root of {b squared minus 4ac}"),
            ("x - 4ac", "x minus 4ac"),
            ("2xy - 3yz = 0", "2xy minus three yz equals 0"),
        ],
    );
}

#[test]
fn ratios_and_products_are_no_times_and_no_measures() {
    check(
        "en",
        &[
            ("Ratio 1:10", "Ratio one to ten"),
            ("a ratio of 1:30", "a ratio of one to thirty"),
            ("scale 1:50", "scale one to fifty"),
            ("a 1:50 scale", "a one to fifty scale"),
            ("odds of 10:11", "odds of ten to eleven"),
            ("mix 1:10 with water", "mix one to ten with water"),
            ("1:8 – 1:10", "one to eight to one to ten"),
            ("at 1:30", "at one thirty"),
            ("What's 7 x 8?", "What's seven times eight?"),
            ("Calculate 12 x 12.", "Calculate twelve times twelve."),
            ("12 x 12 is 144", "twelve times twelve is 144"),
            ("a room of 12 x 12", "a room of twelve by twelve"),
            ("What is a 4 x 6 card?", "What is a four by six card?"),
            ("2 x 400g cans", "two times four hundred gram cans"),
            ("6 x 330 ml bottles", "six times three hundred thirty milliliter bottles"),
            ("4 x 100m relay", "four by one hundred meter relay"),
        ],
    );
}

#[test]
fn rates_are_no_months() {
    check(
        "en",
        &[
            ("12.5% APR", "twelve point five percent A P R"),
            (
                "0% APR for 12 months, then 19.99% APR.",
                "zero percent A P R for twelve months, then nineteen point nine nine percent A P R.",
            ),
            ("The APR is 5%.", "The A P R is five percent."),
            ("12 APR 2020", "the twelfth of April twenty twenty"),
        ],
    );
}

#[test]
fn minus_behind_powers_and_indices_is_heard() {
    check(
        "en",
        &[
            ("x^2 - 1 = 0", "x squared minus one equals 0"),
            ("3x^2 - 5", "three x squared minus five"),
            ("x² - y²", "x squared minus y squared"),
            ("a^2 - 2ab + b^2", "a squared minus 2ab plus b squared"),
            ("10^6 - 1", "ten to the power of six minus one"),
            ("2^64-1", "two to the power of sixty four minus one"),
            ("(y2 - y1)/(x2 - x1)", "(y2 minus y1) slash (x2 minus x1)"),
            ("x₂ - x₁", "x two minus x one"),
            ("|a - b|", "absolute value of a minus b"),
            ("1-x²", "one minus x squared"),
            ("a[i-1]", "a[i minus one]"),
            ("x=5-3", "x equals five minus three"),
            ("10^6-10^9", "ten to the power of six-ten to the power of nine"),
            ("«-5°C»", "«minus five degrees Celsius»"),
        ],
    );
    check("de", &[("“-5 °C”", "“minus fünf Grad Celsius”"), ("b^2 - 4ac", "b hoch zwei minus 4ac")]);
    check("fr", &[("'-5 °C'", "'moins cinq degrés Celsius'")]);
    check("es", &[("—-3", "—menos 3")]);
}

#[test]
fn no_before_a_figure_denies_it() {
    check(
        "en",
        &[
            ("No 3D glasses needed", "No three D glasses needed"),
            ("No 100% guarantee", "No one hundred percent guarantee"),
            ("No 7-day trial", "No seven-day trial"),
            ("No $5 fee", "No five dollars fee"),
            ("No 2 snowflakes are alike", "No two snowflakes are alike"),
            ("1) Yes 2) No 3) Maybe", "one) Yes two) No three) Maybe"),
            ("They live at No 10.", "They live at number ten."),
            ("No 5 is alive", "number five is alive"),
            ("(see No 5)", "(see number five)"),
            ("No. 2 pencils", "number two pencils"),
        ],
    );
}

#[test]
fn names_with_v_and_p_are_no_versions_and_pages() {
    check(
        "en",
        &[
            ("a V8 and a V12", "a V8 and a V12"),
            ("v2 and V2.0", "version 2 and version two point zero"),
            ("p53 gene and p99 latency", "p53 gene and p99 latency"),
            ("see p5 of it", "see page 5 of it"),
        ],
    );
}

#[test]
fn sums_share_a_magnitude() {
    check(
        "en",
        &[
            ("$1 to 2 million", "one to two million dollars"),
            ("$1.5 to 2.5 billion", "one point five to two point five billion dollars"),
            ("between $1 and 2 million", "between one and two million dollars"),
            ("£2 to 3m", "two to three million pounds"),
            ("$1 to 2 people", "one dollar to two people"),
            ("₹1,00,000", "one hundred thousand rupees"),
            ("₹5 lakh and ₹2 crore", "five lakh rupees and two crore rupees"),
        ],
    );
}

#[test]
fn identifiers_are_no_ranges_and_dates_no_fractions() {
    check(
        "en",
        &[
            ("CVE-2021-44228", "CVE-twenty twenty one forty four thousand two hundred twenty eight"),
            ("INV-2024-0042", "INV-twenty twenty four zero zero four two"),
            ("ABC-123-456", "ABC-one hundred twenty three four hundred fifty six"),
            ("case 23-456", "case twenty three four hundred fifty six"),
            ("2024-03", "twenty twenty four zero three"),
            ("No. 111-148", "number one hundred eleven one hundred forty eight"),
            ("No. 19–1392", "number nineteen thirteen ninety two"),
            ("Nos. 3–5", "numbers three to five"),
            ("Pub. L. 94-142", "Public Law ninety four one hundred forty two"),
            ("§ 1.61-1", "section one point six one one"),
            ("§§ 5–7", "sections five to seven"),
            ("ISSN 2049-3630", "ISSN twenty forty nine three thousand six hundred thirty"),
            ("a 737-800", "a seven hundred thirty seven eight hundred"),
            (
                "pages 123–130 (1999)",
                "pages one hundred twenty three to one hundred thirty (nineteen ninety nine)",
            ),
            ("2010-2015 and 3-5 days", "twenty ten to twenty fifteen and three to five days"),
            ("01/02 and 1/2 cup", "zero one slash zero two and half a cup"),
            ("Mon 1/2", "Monday January second"),
        ],
    );
}

#[test]
fn addresses_of_devices_are_read_sign_by_sign() {
    check(
        "en",
        &[
            ("00:1A:2B:3C:4D:5E", "zero zero, one A, two B, three C, four D, five E"),
            ("00-1A-2B-3C-4D-5E", "zero zero, one A, two B, three C, four D, five E"),
            ("2001:db8::1", "two zero zero one colon D B eight colon colon one"),
            ("fe80::1", "F E eight zero colon colon one"),
            ("10:30:45", "ten thirty forty five"),
        ],
    );
}

#[test]
fn addresses_behind_other_text_are_read() {
    check(
        "en",
        &[
            ("Email:al@gmail.com", "Email:al at gmail dot com"),
            ("al@gmail.com,bo@gmail.com", "al at gmail dot com,bo at gmail dot com"),
            ("—jane@example.com—", "—jane at example dot com—"),
            ("it(example.com)", "it(example dot com)"),
            ("«example.com»", "«example dot com»"),
            ("Seehttps://example.com now", "See example dot com now"),
            (
                "[a](https://example.com/b)](https://example.com/c)",
                "[a](example dot com slash b)](example dot com slash c)",
            ),
            ("<a href=\"a.html\" size=\"200\">", "<a href=\"a.html\" size=\"200\">"),
            ("She said \"example.com\" and 5\" more", "She said \"example dot com\" and five inches more"),
            ("ssh://git@h.com/x", "git at h dot com slash x"),
            ("https://x.com/user", "x dot com slash user"),
            ("youtu.be/abc and notion.so", "youtu dot be slash abc and notion dot so"),
        ],
    );
}

#[test]
fn letters_behind_labels_are_names() {
    check(
        "en",
        &[
            ("Rooms 3A and 3B", "Rooms three A and three B"),
            ("Seats 12A–12C", "Seats twelve A to twelve C"),
            ("Box 3A, Title 3B and Pin 3A", "Box three A, Title three B and Pin three A"),
            ("§ 402A and § 78m", "section four hundred two A and section seventy eight M"),
            ("#3B and Art. 12B", "number three B and article twelve B"),
            ("12A High St is here", "twelve A High Street is here"),
            ("a 5A fuse", "a five amp fuse"),
        ],
    );
}

#[test]
fn signs_of_mails_and_invoices_are_read() {
    check(
        "en",
        &[
            ("> Hello there", "Hello there"),
            (">> Hello there", "Hello there"),
            ("> 5 people", "greater than five people"),
            ("x > y", "x greater than y"),
            ("<price>5</price>", "<price>five</price>"),
            ("a<b>5", "a<b>five"),
            ("ID# 5 and PO# 7", "I D number five and PO number seven"),
            ("C# and F# minor", "C sharp and F sharp minor"),
            ("'20 EUR' and '10 µm'", "'twenty euros' and 'ten micrometers'"),
            ("'98.6°F' and '68", "'ninety eight point six degrees Fahrenheit' and sixty eight"),
            ("5 g. sugar and 5 km/h. limit", "five grams sugar and five kilometers per hour limit"),
        ],
    );
}

#[test]
fn german_french_and_spanish_read_more_abbreviations_and_times() {
    check(
        "de",
        &[
            ("mind. 3 und gem. § 5", "mindestens 3 und gemäß Paragraf 5"),
            ("5 Min. Pause", "fünf Minuten Pause"),
            ("Mo.–Fr. 9 Uhr", "Montag bis Freitag 9 Uhr"),
            ("Fr. 5. März und Fr. Müller", "Freitag fünfter März und Frau Müller"),
            ("um 5.30 Uhr", "um fünf Uhr dreißig"),
            ("9:00–17:00", "neun Uhr bis siebzehn Uhr"),
            ("§§ 5–7", "Paragrafen fünf bis 7"),
            ("2½", "zwei einhalb"),
            ("„2,5 Mio. €“", "„zwei Komma fünf Millionen Euro“"),
        ],
    );
    check(
        "fr",
        &[
            ("max. 5 et th. 6", "maximum 5 et thermostat 6"),
            ("9h-17h", "neuf heures à dix-sept heures"),
            ("art. L. 123-4", "article L. cent vingt-trois 4"),
            ("2½", "deux et demi"),
            ("«2,5 M€»", "«deux virgule cinq millions d'euros»"),
        ],
    );
    check(
        "es",
        &[
            ("km. 5 y máx. 3", "kilómetro 5 y máximo 3"),
            ("9:00–17:00", "nueve a diecisiete"),
            ("2½", "dos y medio"),
            ("US$5", "cinco dólares"),
        ],
    );
}

#[test]
fn cells_orbitals_sizes_and_ratios_with_points_are_read() {
    check(
        "en",
        &[
            ("$A$1 and $B2", "A 1 and B 2"),
            ("A$5 and US$5", "five Australian dollars and five U S dollars"),
            ("1s² 2s² 2p⁶", "one S two two S two two P six"),
            ("a 3d orbital", "a three D orbital"),
            ("Wait 3s then", "Wait three seconds then"),
            ("A4-A3 and A1–A4", "A4 to A3 and A1 to A4"),
            ("2.5:1", "two point five to 1"),
            ("on the w/e with a w/d hookup", "on the weekend with a washer dryer hookup"),
        ],
    );
}

#[test]
fn exponents_have_any_number_of_parts() {
    check(
        "en",
        &[
            ("x^{n+1} = 3", "x to the power of n plus one equals three"),
            ("x^(1/2) and x^{1/3}", "x to the power of one half and x to the power of one third"),
            ("2^(n-1)", "two to the power of n minus one"),
            ("e^{-x^2}", "e to the power of minus x squared"),
            ("e^π and e^{iπ} + 1", "e to the power of pi and e to the power of i pi plus one"),
            ("(a+b)^2 = 4", "(a plus b) squared equals four"),
            ("A^−1", "A to the power of minus one"),
            ("x^(1⁄3)", "x to the power of one third"),
            ("8^½", "eight to the power of one half"),
            ("x^2, x^{2} and x^n", "x squared, x squared and x to the power of n"),
            ("x⁄y and 1⁄2", "x over y and one half"),
            ("iπ and kΔx", "i pi and k delta x"),
        ],
    );
    check(
        "de",
        &[("1⁄2 + x⁄y = x^n", "ein halb plus x durch y gleich x hoch n"), ("x^-2", "x hoch minus 2")],
    );
    check("fr", &[("x⁄y = x^{2}", "x sur y égale x puissance 2}")]);
}

#[test]
fn places_in_journals_are_volumes_and_pages() {
    check(
        "en",
        &[
            (
                "2020;382:727",
                "twenty twenty, volume three hundred eighty two, page seven hundred twenty seven",
            ),
            (
                "Lancet 2020; 395(10223):497–506.",
                "Lancet twenty twenty, volume three hundred ninety five issue ten thousand two hundred twenty three, \
                 pages four hundred ninety seven to five hundred six.",
            ),
            (
                "BMJ 2019;364:l789",
                "BMJ twenty nineteen, volume three hundred sixty four, page L seven hundred eighty nine",
            ),
            ("12(3):45-67", "volume twelve issue three, pages forty five to sixty seven"),
            (
                "Nature 521:436–444 (2015)",
                "Nature volume five hundred twenty one, pages four hundred thirty six to four hundred forty four \
                 (twenty fifteen)",
            ),
            ("at 10:30 in 2020; 5:30 too", "at ten thirty in twenty twenty; five thirty too"),
            ("John 3:16 and 9:00-17:00", "John three sixteen and nine to seventeen hundred"),
        ],
    );
}

#[test]
fn ranges_of_letters_and_sizes_of_type_are_read() {
    check(
        "en",
        &[
            ("Figs. 1a–c and Fig. 2b-d", "figures one A to C and figure two B to D"),
            ("Table 3A–C", "Table three A to C"),
            ("5 pt font", "five points font"),
            ("12 pt. font, 14-pt type", "twelve points font, fourteen point type"),
            ("font size 12 pt", "font size twelve points"),
            ("2 pt milk", "two pints milk"),
            ("2πr - 3", "two pi r minus three"),
            ("A = 2πrh - 3", "A equals two pi rh minus three"),
            (
                "5 gms. of it, 2 Tbs. oil, 10 kms. away, 5 cc of it",
                "five grams of it, two tablespoons oil, ten kilometers away, five cubic centimeters of it",
            ),
            ("The SEP-IRA grew.", "The SEP-I R A grew."),
        ],
    );
    check("de", &[("Er ist dt. Meister, ehem. Minister.", "Er ist deutsch Meister, ehemals Minister.")]);
}

#[test]
fn sign_alone_is_called_by_its_name() {
    check(
        "en",
        &[("+", "plus"), ("#", "hash"), ("▲", "up"), ("=", "equals"), ("€", "euros"), ("⌘", "command")],
    );
    check("de", &[("+", "plus"), ("€", "Euro"), ("<", "kleiner als")]);
}

#[test]
fn notes_of_doctors_and_players_are_read() {
    check(
        "en",
        &[
            (
                "1 tsp q8h, 2 mg q4–6h",
                "one teaspoon every eight hours, two milligrams every four to six hours",
            ),
            ("250mg/5mL", "two hundred fifty milligrams per five milliliters"),
            ("max. 4 g/24 h", "maximum four grams per twenty four hours"),
            ("BID x 7 days", "BID for seven days"),
            ("[Chorus x2]", "[Chorus times two]"),
            ("solve for x2", "solve for x2"),
            (
                "Arsenal 3–1 Chelsea (Saka 12', 45+2', Rice 88' pen.)",
                "Arsenal three to one Chelsea (Saka twelfth minute, forty five plus two, Rice eighty eighth minute pen.)",
            ),
            ("a board (about 12' long), 6' tall", "a board (about twelve feet long), six feet tall"),
            (
                "180°C/350°F, 1 lb/450 g",
                "one hundred eighty degrees Celsius slash three hundred fifty degrees Fahrenheit, one pound slash four hundred fifty grams",
            ),
        ],
    );
}

#[test]
fn signs_of_mathematics_are_read_by_their_place() {
    check(
        "en",
        &[
            ("∫₀¹ x² dx", "integral from zero to one x squared dx"),
            ("P(B|A)", "P(B given A)"),
            ("a|b and P(x) | y", "a|b and P of x | y"),
            ("5! = 120 and wow! - yes", "five factorial equals 120 and wow! - yes"),
            ("x = (-b ± 3) / 2a", "x equals (minus b plus or minus three) divided by 2a"),
            ("sin(x)/x = 1", "sin(x) slash x equals one"),
            ("(b / a) ** 4", "(b divided by a) to the power of four"),
            ("this / that", "this / that"),
            ("($\\lambda \\approx 450$ nm)", "(lambda approximately 450 nanometers)"),
        ],
    );
}

#[test]
fn notes_of_mails_chats_and_logs_are_read() {
    check(
        "en",
        &[
            ("PO #: 88-1204", "PO number: eighty eight twelve oh four"),
            (
                "IBAN: GB29 NWBK 6016 1331 9268 19",
                "IBAN: G B two nine, N W B K, six zero one six, one three three one, nine two six eight, one nine",
            ),
            (
                "dep. 14:05 Plat. 4, arr. 16:47",
                "departing fourteen oh five platform four, arriving sixteen forty seven",
            ),
            ("Sat. 8–6, Sun. closed", "Saturday eight to six, Sunday closed"),
            ("thx, pls ask ppl, btw idk", "thanks, please ask people, by the way I don't know"),
            ("3 hr. ago", "three hours ago"),
            ("(2021 est.) now", "(twenty twenty one estimated) now"),
            ("00:00:01,000 --> 00:00:04,200", "zero oh zero oh one to zero oh zero oh four point two"),
            ("2–3pm ET, 17:00 CET, ET ran", "two to three P M E T, seventeen hundred C E T, ET ran"),
            ("148/150 passed", "one hundred forty eight out of one hundred fifty passed"),
            ("Settings > Network > Wi-Fi", "Settings then Network then Wi-Fi"),
            ("A > B and x > y", "A greater than B and x greater than y"),
            ("FYI: the LED of the DOJ", "F Y I: the L E D of the D O J"),
            ("SHE LED THE WAY", "SHE LED THE WAY"),
        ],
    );
}

#[test]
fn notes_of_recipes_and_manuals_are_read() {
    check(
        "en",
        &[
            ("1 c. + 2 T sugar", "one cup plus two tablespoons sugar"),
            ("(½ c., 4 oz.) butter", "(half a cup, four ounces) butter"),
            ("2 lg. eggs, 1 med. onion", "two large eggs, one medium onion"),
            ("1 (8-oz) pkg. cream cheese", "one (eight ounce) package cream cheese"),
            ("• 4× M6 × 25 mm bolts", "• four M6 by twenty five millimeter bolts"),
            ("It is 4× faster", "It is four times faster"),
            ("Drill Ø8 mm holes", "Drill diameter eight millimeter holes"),
            ("Press ⏻ now", "Press power now"),
            ("part nos. AB-1024 now", "part numbers AB-one thousand twenty four now"),
            (
                "Weight (kg), Temp (°F), Share (%)",
                "Weight (kilograms), Temp (degrees Fahrenheit), Share (percent)",
            ),
            ("Height (m), word(s), (ha)", "Height (meters), word(s), (ha)"),
        ],
    );
}

#[test]
fn marks_of_verse_and_old_money_are_read() {
    check(
        "en",
        &[
            ("’Tis 2s. 6d. to Crane", "’Tis two shillings six pence to Crane"),
            ("10s 1d", "ten shillings one penny"),
            ("wait 2s now", "wait two seconds now"),
            ("o’er the hill, e'er, th’ abyss", "ore the hill, air, the abyss"),
            ("III.", "three."),
            ("IV. Results", "four. Results"),
            ("It was I. They saw MIX.", "It was I. They saw MIX."),
        ],
    );
}

#[test]
fn more_notes_of_letters_reports_and_timetables_are_read() {
    check(
        "en",
        &[
            (
                "404s and 401s; 747s; 100s of them",
                "four oh fours and four oh ones; seven forty sevens; hundreds of them",
            ),
            ("It took 404s.", "It took four hundred four seconds."),
            ("Thu 11/14, due 1/2", "Thursday November fourteenth, due January second"),
            ("on 1/2 inch, Sat 1/2 cup", "on half an inch, Saturday half a cup"),
            ("a 9\"x13\" pan at room temp.", "a nine inch by thirteen inch pan at room temperature."),
            ("Acct. ending in 4, in the amt. of $5", "account ending in four, in the amount of five dollars"),
            (
                "Meeting ID: 845 1234 5678",
                "Meeting I D: eight four five, one two three four, five six seven eight",
            ),
            ("log₂8 = 3", "log base two eight equals three"),
            ("∂f/∂x", "partial f slash partial x"),
            ("14 Oct. 1066", "the fourteenth of October ten sixty six"),
            (
                "pop. 1,234; elev. 456 ft",
                "population one thousand two hundred thirty four; elevation four hundred fifty six feet",
            ),
            ("a pop 5 star", "a pop five star"),
            ("dew pt. 61", "dew point sixty one"),
            ("10ms p99, see p5", "ten milliseconds p99, see page 5"),
            ("00:01:02.500 --> 00:01:04.000", "zero oh one oh two point five to zero oh one oh four"),
        ],
    );
}

#[test]
fn timetables_recipes_and_lives_of_other_languages_are_read() {
    check(
        "de",
        &[
            ("Rechnung Nr. 2024-113", "Rechnung Nummer zweitausendvierundzwanzig 113"),
            ("ab 14:05 Uhr Gl. 7", "ab vierzehn Uhr fünf Gleis 7"),
            ("1 Pkg. Backpulver, 3x tgl. hier", "eine Packung Backpulver, 3x täglich hier"),
            ("§ 433 i. V. m. § 280", "Paragraf 433 in Verbindung mit Paragraf 280"),
            (
                "(* 28. August 1749; † 22. März 1832)",
                "(geboren achtundzwanzigster August 1749; gestorben zweiundzwanzigster März 1832)",
            ),
            ("* 5 Äpfel", "* 5 Äpfel"),
        ],
    );
    check(
        "fr",
        &[
            (
                "½ c. à café de sel, 2 c. à s. d'huile",
                "une demi cuillère à café de sel, 2 cuillères à soupe d'huile",
            ),
            ("dép. 14h05, arr. 16h47", "départ quatorze heures cinq, arrivée seize heures quarante-sept"),
            ("sam. 10 h", "samedi dix heures"),
        ],
    );
    check(
        "es",
        &[
            ("2 cdas. de aceite", "dos cucharadas de aceite"),
            ("sal. 14:05 h, sáb. 10 h", "salida catorce cinco horas, sábado diez horas"),
        ],
    );
}

#[test]
fn words_typed_in_a_hurry_are_written_out() {
    check(
        "en",
        &[
            ("r u ok? b4 u go, c u l8r", "are you ok? before you go, see you later"),
            ("gr8! u r nice, ur dog is 2", "great! you are nice, your dog is two"),
            ("2nite is 4u, w8 here", "tonight is for you, wait here"),
            ("omw, ttyl", "on my way, talk to you later"),
            ("Vitamin B4, an M8 bolt, 4. b4 Bxb4", "Vitamin B4, an M8 bolt, four. b4 bishop takes b4"),
            ("u = 5 and vector u, the U.S. Navy", "u equals five and vector u, the U S Navy"),
            ("We req'd the gov't doc.", "We required the government doc."),
            ("Int’l ass'n, cont'd on p. 4", "international association, continued on page four"),
            ("I'd say we'd gone, o'clock", "I'd say we'd gone, o'clock"),
        ],
    );
}

#[test]
fn percent_signs_between_operands_are_remainders() {
    check(
        "en",
        &[
            ("7 % 3 = 1", "seven mod three equals one"),
            ("What is 17 % 5?", "What is seventeen mod five?"),
            ("a % b and n%2 == 0", "a mod b and n mod two equals 0"),
            ("(a + b) % c", "(a plus b) mod c"),
            ("10 % 20 % 30 % of it", "ten percent twenty percent thirty percent of it"),
            ("It rose 5 % 3 times.", "It rose five percent three times."),
            ("5 % of 3, 1.5%/mo. fee", "five percent of three, one point five percent per month fee"),
            (
                "7 // 2 is 3, 5!=120, x!=5",
                "seven slash slash two is three, five factorial equals 120, x not equal to five",
            ),
        ],
    );
    check("de", &[("7 % 3 = 1", "7 modulo 3 gleich 1"), ("50 % von 3", "fünfzig Prozent von 3")]);
}

#[test]
fn transcriptions_stay_as_they_are() {
    for text in ["Hello (/həˈləʊ/) here", "[ˈwɔːtə] is so", "say /kæt/ and /ˈæp.əl/"] {
        assert_eq!(normalize(text, "en").text, text);
    }
    check("en", &[("/etc/hosts or [a] and/or /b/", "slash etc slash hosts or [a] and or slash b")]);
}

#[test]
fn bullets_dividers_and_signs_of_letters_are_read() {
    check(
        "en",
        &[
            ("☎ 555-0100", "phone five five five, zero one zero zero"),
            ("✉ a@b.com", "mail a at b dot com"),
            ("⚠ Hot surface", "warning Hot surface"),
            ("☎ us", " us"),
            ("Prep: 15 mins | Cook: 1 hr", "Prep: fifteen minutes , Cook: one hour"),
            ("Four reviews • Free", "Four reviews , Free"),
            ("P(A | B), a | b", "P(A | B), a | b"),
            ("➤ Item", " Item"),
        ],
    );
    check("de", &[("⚠ Heiß, ☎ 5", "Achtung Heiß, Telefon 5"), ("⚠\u{fe0f} Achtung: heiß", " Achtung: heiß")]);
}

#[test]
fn accents_above_a_variable_are_read() {
    check(
        "en",
        &[
            ("x\u{304} = 3", "x bar equals three"),
            ("θ\u{302} and p\u{302}", "theta hat and p hat"),
            ("v\u{20d7} is", "v vector is"),
            ("cafe\u{301} e\u{302}tre", "cafe\u{301} e\u{302}tre"),
        ],
    );
}

#[test]
fn limits_of_sums_and_signs_of_tex_are_read() {
    check(
        "en",
        &[
            ("$\\sum_{i=1}^{n} x_i$", "sum from i equals one to n x i"),
            ("$\\int_0^1 f(x) dx$", "integral from 0 to one f of x dx"),
            ("$\\lim_{x \\to 0} f$", "limit as x to 0 f"),
            ("$L = -\\sum x$", "L equals minus sum x"),
            ("$\\frac{-b}{2a}$", "minus b over 2a"),
            ("(0,1) and {0,1,2}", "(0,one) and {0,one,two}"),
            ("x<y, f<T> and Vec<String>", "x less than y, f<T> and Vec<String>"),
        ],
    );
}

#[test]
fn plurals_and_letters_behind_figures_are_no_units() {
    check(
        "en",
        &[
            ("The B-52s and F-16s flew.", "The B-fifty twos and F-sixteens flew."),
            ("two 5s and three 10s, size 8s", "two fives and three tens, size eights"),
            ("Wait 5s in the 90s.", "Wait five seconds in the nineties."),
            ("Apt. 5-B, Size: 34B", "Apartment five B, Size: thirty four B"),
            ("12.3K reviews", "twelve point three thousand reviews"),
            (
                "127.0.0.1:8080",
                "one hundred twenty seven dot zero dot zero dot one port eight thousand eighty",
            ),
            ("main.rs:12:5", "main.rs:twelve five"),
            ("AUC0–24 and 2024-060, here", "AUC0 to twenty four and twenty twenty four zero six zero, here"),
            ("code JULY4", "code JULY4"),
            ("80/20 beef, BP 60/40", "eighty twenty beef, BP sixty over forty"),
            ("Order #A-1029", "Order number A-one thousand twenty nine"),
            ("so fun!! <3 <3", "so fun!! heart heart"),
            ("if x <3", "if x less than three"),
        ],
    );
}

#[test]
fn abbreviations_by_their_place_are_read() {
    check(
        "en",
        &[
            ("pp. 12 ff. and 15ff. here", "pages twelve and following and fifteen and following here"),
            ("It lasts five min. and ends.", "It lasts five minutes and ends."),
            ("Col. 3 and Col. Lee", "column three and Colonel Lee"),
            ("No. of items: 3", "number of items: three"),
            ("Sr. Engineer Lee", "Senior Engineer Lee"),
            ("est. £400, est. 1990", "estimated four hundred pounds, established nineteen ninety"),
            ("Act II, Sc. 3", "Act two, scene three"),
            ("ft. Rihanna, 5 ft. Rope", "featuring Rihanna, five feet Rope"),
            ("rev. $5B", "revenue five billion dollars"),
            (
                "£5 inc. VAT, Mob. 555-0100",
                "five pounds including VAT, mobile five five five, zero one zero zero",
            ),
            ("A play, ed. Lee, 2nd ed. York", "A play, edited by Lee, second edition York"),
            ("1 in = 2.54 cm", "one inch equals two point five four centimeters"),
            ("closed 25/12", "closed December twenty fifth"),
            ("(0)20 7946 0991", "zero, two zero, seven nine four six, zero nine nine one"),
            (
                "+1-202-555-0143 x204",
                "plus one, two zero two, five five five, zero one four three extension 204",
            ),
            ("Prep: 15m. 100 U/mL", "Prep: fifteen minutes. one hundred units per milliliter"),
            ("$ git log", " git log"),
        ],
    );
}

#[test]
fn kitchens_days_and_phones_of_other_languages_are_read() {
    check(
        "de",
        &[
            ("½ TL, ½ Std., ½ kg", "ein halber Teelöffel, eine halbe Stunde, ein halbes Kilogramm"),
            ("2 Pck. Zucker, 3 Msp. Salz", "zwei Päckchen Zucker, drei Messerspitzen Salz"),
            ("1/8 l Milch, 1 1/2 TL", "ein Achtel Liter Milch, ein einhalb Teelöffel"),
            ("Sa. 10–14 Uhr, So. geschl. hier", "Samstag zehn bis 14 Uhr, Sonntag geschlossen hier"),
            ("So. Das war es.", "So. Das war es."),
            ("3:1 (1:0)", "drei zu eins (eins zu null)"),
            ("Tel.: 030/12 34 56-0", "Telefon: null drei null, eins zwei, drei vier, fünf sechs, null"),
            ("5,- € und Version 5.2", "fünf Euro und Version fünf Punkt zwei"),
            ("Hr. Müller u. Fr. Lee", "Herr Müller und Frau Lee"),
        ],
    );
    check(
        "fr",
        &[
            ("½ h, 1/8 l, 3:1", "une demi heure, un huitième litre, trois à un"),
            ("p. 45 et s. du C. civ. ici", "page 45 et suivantes du code civil ici"),
        ],
    );
    check(
        "es",
        &[
            ("3 uds. de huevo, 3.º izda. aquí", "tres unidades de huevo, tercero izquierda aquí"),
            ("½ h y ½ kg, s. XIX", "media hora y medio kilogramo, siglo diecinueve"),
            ("Art. 5.2 y ss. aquí", "artículo cinco punto dos y siguientes aquí"),
        ],
    );
}

#[test]
fn moves_of_chess_are_read() {
    check(
        "en",
        &[
            (
                "1. e4 e5 2. Nf3 Nc6 3. O-O Bxc6",
                "one. e4 e5 two. knight f3 knight c6 three. castles bishop takes c6",
            ),
            ("5. Qxf7# wins", "five. queen takes f7 mate wins"),
            ("24...Rxd4+ exd4", "twenty four...rook takes d4 check e takes d4"),
            ("I like B4 and Be4.", "I like B4 and Be4."),
            ("They played Nf3 Nc6.", "They played knight f3 knight c6."),
        ],
    );
}

#[test]
fn figures_in_names_are_no_ranges() {
    check(
        "en",
        &[
            ("Llama-3.1-8B, Gemma-2-27B", "Llama-three point one eight B, Gemma-two twenty seven B"),
            ("llama3.1:8b, x86-64", "llama3.1:8b, x86-64"),
            ("Form 10-K, Ryzen 9 5950X, p53", "Form ten-K, Ryzen nine 5950X, p53"),
            ("3'45\" and 5'10\"", "three minutes forty five seconds and five foot ten"),
            ("Gen. 1:1–2:3, Surah 2:255", "Genesis one one to two three, Surah two two hundred fifty five"),
            (
                "34 × 49 = 1666, in 1999",
                "thirty four times forty nine equals one thousand six hundred sixty six, in nineteen ninety nine",
            ),
            ("x10 - 1, 2n-1", "x10 minus one, 2n minus one"),
        ],
    );
}

#[test]
fn atoms_with_abbreviations_in_them_are_whole() {
    check(
        "en",
        &[
            ("a/b/c, w/ you b/c", "a slash b slash c, with you because"),
            (
                "Open 7a–3p, by 8p, 99p each",
                "Open seven A M to three P M, by eight P M, ninety nine pence each",
            ),
            ("10 mi./hr. now", "ten miles per hour now"),
            (
                "$900/mo. + util., $5/lb. or less, $3/ea. for two",
                "nine hundred dollars per month plus util., five dollars per pound or less, three dollars each for two",
            ),
            ("Type \\ldots or \\quad here.", "Type \\ldots or \\quad here."),
            ("Open C:\\left\\right.txt", "Open C:\\left\\right.txt"),
            ("\\left( x \\right) = 3", "( x ) equals three"),
        ],
    );
}

#[test]
fn primes_before_any_sign_are_read() {
    check(
        "en",
        &[
            ("The 5′-→3′ way, 5′-–3′", "The five prime to three prime way, five prime to three prime"),
            ("A 5'-“cap” and 3′-“A” end", "A five feet-“cap” and three feet-“A” end"),
            ("in 5B, 2B or not, 5B users", "in 5B, 2B or not, five billion users"),
            ("10/3–10/6 and #4-B", "October third to October sixth and number four B"),
        ],
    );
}

#[test]
fn years_that_something_is_set_to_are_years() {
    check(
        "en",
        &[
            ("year = 1999, born=2024", "year equals nineteen ninety nine, born equals twenty twenty four"),
            (
                "birth_year=1987 and built == 1850",
                "birth year equals nineteen eighty seven and built equals eighteen fifty",
            ),
            (
                "x = 1999, size=1850",
                "x equals one thousand nine hundred ninety nine, size equals one thousand eight hundred fifty",
            ),
            ("34 × 49 = 1666", "thirty four times forty nine equals one thousand six hundred sixty six"),
            ("Rev. C, 03/2023; Rev. King", "Revision C, March twenty twenty three; Reverend King"),
            (
                "She was b. 12 Aug. 1887 or b. 1890.",
                "She was born the twelfth of August eighteen eighty seven or born eighteen ninety.",
            ),
            (
                "In 10/2000 sales rose, 10/2000 people",
                "In October two thousand sales rose, ten slash two thousand people",
            ),
            ("Week of 5/6, but 5/6 of it", "Week of May sixth, but five sixths of it"),
        ],
    );
}

#[test]
fn lengths_before_a_thing_are_of_one_inch() {
    check(
        "en",
        &[
            ("Cut 2\" rounds and a 55\" TV.", "Cut two inch rounds and a fifty five inch TV."),
            ("12\" pizza, 1½\" cubes", "twelve inch pizza, one and a half inch cubes"),
            (
                "It is 3\" long, 2\" in or 4\" off.",
                "It is three inches long, two inches in or four inches off.",
            ),
            (
                "2\" left, 3\" of snow and 5\" more",
                "two inches left, three inches of snow and five inches more",
            ),
            (
                "a 10 mm socket, 5 mm bolts, 3 mm apart",
                "a ten millimeter socket, five millimeter bolts, three millimeters apart",
            ),
            ("24g fat (9g sat.)", "twenty four grams fat (nine grams saturated.)"),
            (
                "The 9V battery, this 5 lb bag, the 200 g flour",
                "The nine volt battery, this five pound bag, the two hundred grams flour",
            ),
            ("the 5 km remaining, the 10 mg dose", "the five kilometers remaining, the ten milligrams dose"),
            ("8\" x 10\" paper", "eight inches by ten inches paper"),
        ],
    );
}

#[test]
fn phrases_of_chats_are_written_out() {
    check(
        "en",
        &[
            ("kk np", "okay no problem"),
            ("brb, omg! BRB in 5", "be right back, oh my god! be right back in five"),
            ("np, see u. ty! kk", "no problem, see you. thank you! okay"),
            ("I am busy rn.", "I am busy right now."),
            ("idk tbh, ngl imo", "I don't know to be honest, not gonna lie in my opinion"),
            ("by fri, wbu?", "by Friday, what about you?"),
            ("import numpy as np", "import numpy as np"),
            ("np.array, x.msg, my-msg and fyi_list", "np.array, x.msg, my-msg and fyi list"),
            ("The RN and the NP met JK.", "The RN and the NP met JK."),
        ],
    );
}

#[test]
fn names_and_flags_of_code_are_read() {
    check(
        "en",
        &[
            ("Call getUserById(42) now.", "Call get User By Id(forty two) now."),
            ("parseJSONFile and myVar", "parse JSON File and my Var"),
            ("my iPhone, eBay, mRNA, JavaScript and kWh", "my iPhone, eBay, mRNA, JavaScript and kWh"),
            ("Use git rebase -i and ls -a now.", "Use git rebase dash i and ls dash a now."),
            ("She left -I think- and -and this- too.", "She left -I think- and -and this- too."),
            ("O(n log n), f(x)g(3) and P(A)", "O of n log n, f of x g of three and P of A"),
            ("f(foo), self.f(x) and f(a word)", "f(foo), self.f(x) and f(a word)"),
            ("0-9, a-z, A–F, A-B and A-level", "zero to nine, a to z, A to F, A-B and A-level"),
            (
                "PR #1234 and RFC 9113, ISO 9001",
                "P R number twelve thirty four and RFC ninety one thirteen, ISO nine thousand one",
            ),
            ("ISO 8601, Exhibit G(2)", "ISO eighty six oh one, Exhibit G(two)"),
            ("$x_{max}$ and $\\frac{a_{1}}{b^{2}}$", "x max and a one over b squared"),
        ],
    );
}

#[test]
fn codes_of_places_and_losses_are_read() {
    check(
        "en",
        &[
            ("London SW1A 2AA, EC1V 9BX", "London S W one A, two A A, E C one V, nine B X"),
            ("B2 5KM and A4 5MM", "B2 five kilometers and A4 five millimeters"),
            ("3rd Ave. & E. 12th St.", "third Avenue and East twelfth Street."),
            ("1200 Market Sq.", "twelve hundred Market Square."),
            ("lat. 40 long. 74", "latitude forty longitude seventy four"),
            ("At long. -74.0 it ends.", "At longitude minus seventy four point zero it ends."),
            ("It was long. 74 people came.", "It was long. seventy four people came."),
            (
                "She owes $(1,250) or $(3.50).",
                "She owes minus one thousand two hundred fifty dollars or minus three dollars fifty cents.",
            ),
            ("3 min/side, P/N 5", "three minutes per side, P N five"),
            ("The arrow (→) is red.", "The arrow (right arrow) is red."),
            ("10×100ms", "ten times one hundred milliseconds"),
        ],
    );
}

#[test]
fn groups_of_three_digits_behind_spaces_are_one_number() {
    let million = "one million two hundred thirty four thousand five hundred sixty seven";
    for space in [" ", "\u{a0}", "\u{202f}"] {
        let written = format!("1{space}234{space}567 people");
        check("en", &[(&written, &format!("{million} people"))]);
    }
    check(
        "en",
        &[
            ("2 500 000 people", "two million five hundred thousand people"),
            ("12 345 678", "twelve million three hundred forty five thousand six hundred seventy eight"),
            (
                "Population: 8 336 817 in 2022.",
                "Population: eight million three hundred thirty six thousand eight hundred seventeen in twenty twenty two.",
            ),
            ("1 234 567 km", &format!("{million} kilometers")),
            ("1 234 567,89 €", &format!("{million} euros eighty nine cents")),
            ("Call 12 345 678 now", "Call twelve 345 678 now"),
            ("612 345 678", "612 345 678"),
            ("rooms 1 234 567", "rooms one 234 567"),
        ],
    );
    check(
        "fr",
        &[(
            "1 234 567 habitants",
            "un million deux cent trente-quatre mille cinq cent soixante-sept habitants",
        )],
    );
}

#[test]
fn numbers_with_hyphens_behind_their_noun_are_codes() {
    check(
        "en",
        &[
            ("Cat. No. 12345-67", "catalog number one two three four five, six seven"),
            ("Policy number 123456-78", "Policy number one two three four five six, seven eight"),
            ("Acct. no. 12-3456789", "account number one two, three four five six seven eight nine"),
            ("Part no. 5678-12", "Part number five thousand six hundred seventy eight twelve"),
            ("Room 12-34", "Room twelve thirty four"),
            ("Bldg. 3-205", "building three two hundred five"),
            ("ticket 44-12", "ticket forty four twelve"),
            ("Nos. 3-5", "numbers three to five"),
            ("rooms 12-34", "rooms twelve to thirty four"),
            ("order 2-3 pizzas", "order two to three pizzas"),
            ("a number 10-20 times", "a number ten to twenty times"),
            ("number 5-10 km", "number five to ten kilometers"),
        ],
    );
}

#[test]
fn measures_and_dates_beside_others_are_read() {
    check(
        "en",
        &[
            ("500g/1lb 2oz flour", "five hundred grams slash one pound two ounces flour"),
            ("1lb 2oz/500g flour", "one pound two ounces slash five hundred grams flour"),
            ("250 mg/5 mL", "two hundred fifty milligrams per five milliliters"),
            ("1 Jan. 24 was cold.", "the first of January twenty four was cold."),
            ("Jan. 24 was cold.", "January twenty fourth was cold."),
            ("2 pts. cream", "two pints cream"),
            ("20 pts. behind", "twenty points behind"),
            ("one 2-lb. bag", "one two pound bag"),
            ("Mon.-Fri. 9-5", "Monday to Friday nine to five"),
            ("Mon.—Fri. and Jan.—Mar. 2", "Monday to Friday and January to March second"),
            ("Mon—Fri", "Monday to Friday"),
            ("On Sunday — Monday is off — rest.", "On Sunday — Monday is off — rest."),
            ("Mon. - Fri. 9-5", "Monday to Friday nine to five"),
            ("Sept. - Nov. 2024", "September to November twenty twenty four"),
            (
                "See par. 2, col. 1, fol. 3 and nn. 5",
                "See paragraph two, column one, folio three and notes five",
            ),
            ("+----+----+ a", " a"),
            ("=====+=====", ""),
            ("ii. second", "two. second"),
            ("2 + 3 = 5", "two plus three equals five"),
        ],
    );
}

#[test]
fn marks_that_models_write_in_formulas_are_words() {
    check(
        "en",
        &[
            ("$\\langle u, v \\rangle = 0$", "inner product of u, v  equals 0"),
            ("$\\langle x \\rangle$ and ⟨u, v⟩", "bracket x  and inner product of u, v"),
            ("$A \\xrightarrow{f} B \\xleftarrow[g]{h} C$", "A by f to B by [g]h from C"),
            ("$A \\xrightarrow{} B$", "A to B"),
            ("$1, 2, \\ldots, n$", "one, two, and so on, n"),
            ("$x + \\cdots + y$", "x plus and so on plus y"),
            ("1 + 2 + ... + 100", "one plus two plus and so on plus 100"),
            ("Well ... no, and so … on.", "Well ... no, and so … on."),
            ("$f \\circ g$", "f composed with g"),
            ("[a] - [b] = 4", "[a] minus [b] equals four"),
            ("See [a] - [b] here.", "See [a] - [b] here."),
            ("\\(a_1 - b\\) and \\[ |x| = 2 \\] so", "a 1 minus b and  absolute value of x equals two  so"),
            ("Open C:\\(x86) or \\d\\(a", "Open C:\\(x86) or \\d\\(a"),
        ],
    );
    for language in ["de", "fr", "es"] {
        check(language, &[("\\(a\\) x \\[b\\] y", "a x b y")]);
    }
}

#[test]
fn bars_are_paired_by_one_rule() {
    check(
        "en",
        &[
            ("$\\|x\\| + ||y|| = \\lVert z \\rVert$", "norm of x plus norm of y equals norm of z "),
            (
                "$||x + y|| \\le \\|x\\| + |y|$",
                "norm of x plus y less than or equal to norm of x plus absolute value of y",
            ),
            ("$||x| - |y||$", "absolute value of absolute value of x minus absolute value of y"),
            ("$|x||y|$", "absolute value of x absolute value of y"),
            (
                "$\\left\\| x \\right\\| \\le |\\alpha|$",
                "norm of x  less than or equal to absolute value of alpha",
            ),
            ("|x − 3| < 2, ||v|| = 1", "absolute value of x minus three less than two, norm of v equals one"),
            (
                "|a| - |b|, 2|-5|",
                "absolute value of a minus absolute value of b, two absolute value of minus five",
            ),
            ("a || b, |OK|, a|b|c, | 5 | 6 |", "a or b, |OK|, a|b|c, | five | six |"),
        ],
    );
}

#[test]
fn marks_of_a_factorial_are_heard() {
    check(
        "en",
        &[
            ("10! ÷ 8! = 90", "ten factorial divided by eight factorial equals ninety"),
            ("5!/3! = 20", "five factorial over three factorial equals twenty"),
            (
                "k! ≤ 2, (n+1)! - n! = 4",
                "k factorial less than or equal to two, (n plus one) factorial minus n factorial equals four",
            ),
            ("n! grows fast.", "n factorial grows fast."),
            ("Only $5! And 20! Yes! - so", "Only five dollars! And twenty! Yes! - so"),
        ],
    );
}

#[test]
fn squares_of_quantities_are_no_notes() {
    check(
        "en",
        &[
            ("the radius³ and speed² in prose", "the radius cubed and speed squared in prose"),
            ("velocity² times mass", "velocity squared times mass"),
            ("They said so³ and left it².", "They said so and left it."),
            ("The study² of its height³ was good.", "The study of its height was good."),
        ],
    );
}

#[test]
fn orders_of_doctors_are_read() {
    check(
        "en",
        &[
            (
                "2 tabs. q.6h. for pain, 1 cap q8h",
                "two tablets every six hours for pain, one capsule every eight hours",
            ),
            ("1 tab PO BID", "one tablet P O B I D"),
            ("5 mg PO TID PRN", "five milligrams P O T I D P R N"),
            ("Take 2 tabs. every night.", "Take two tablets every night."),
            ("Open 2 tabs. Then go. 3 tabs with maps", "Open two tabs. Then go. three tabs with maps"),
            ("a PO from SC, the BID", "a PO from SC, the BID"),
        ],
    );
}

#[test]
fn dashes_between_days_months_and_years_are_ranges() {
    check(
        "en",
        &[
            ("Tuesday-Thursday, Monday–Friday", "Tuesday to Thursday, Monday to Friday"),
            (
                "5 Jan–3 Feb, 5 May-3 June",
                "the fifth of January to third of February, the fifth of May to third of June",
            ),
            (
                "June 2023-May 2024, Jan. 2020–Feb. 2021",
                "June twenty twenty three to May twenty twenty four, January twenty twenty to February twenty twenty one",
            ),
            ("Mon 9am-Fri 5pm", "Monday nine A M to Friday five P M"),
            (
                "Wed. 3/4, Sat 6/5 and 3/4 of it",
                "Wednesday March fourth, Saturday June fifth and three quarters of it",
            ),
            ("See you Sunday - Monday I am off.", "See you Sunday - Monday I am off."),
            (
                "Flight 12-34, bus 5-10, trains 3-5",
                "Flight twelve thirty four, bus five ten, trains three to five",
            ),
        ],
    );
    check(
        "de",
        &[
            (
                "von 1939–1945 und 1500–2000 €",
                "von 1939 bis 1945 und eintausendfünfhundert bis zweitausend Euro",
            ),
            ("S. 12, S. Müller", "Seite 12, S. Müller"),
            ("Mo., 5. Mai", "Montag, fünfter Mai"),
        ],
    );
    check("fr", &[("de 1939–1945, p. 12", "de 1939 à 1945, page 12")]);
    check("es", &[("de 1939–1945, p. 12", "de 1939 a 1945, página 12")]);
}

#[test]
fn short_forms_beside_what_they_belong_to_are_whole() {
    check(
        "en",
        &[
            ("vs. last yr. and next mo.", "versus last year and next month."),
            ("on the 5th Fl. of it", "on the fifth floor of it"),
            (
                "27.4 ppg, 8 rpg, 5 apg",
                "twenty seven point four points per game, eight rebounds per game, five assists per game",
            ),
            ("a 3/4-inch bolt", "a three quarter-inch bolt"),
            ("open 24-7, 24-70 mm", "open twenty four seven, twenty four to seventy millimeters"),
            ("M6 x 20 mm, IP67", "M6 by twenty millimeters, I P 67"),
            ("xᵢ + vⱼ", "x i plus v j"),
            ("II", "two"),
            ("part no. FX-0315-B", "part number FX-0315-B"),
            ("a 9x5\" loaf pan, 9x5\" long", "a nine by five inch loaf pan, nine by five inches long"),
            ("Size (W × H × D), W × H = 6", "Size (W by H by D), W times H equals six"),
            ("w/e, go. I pay u back abt now", "whatever, go. I pay you back about now"),
            ("2 bananas (4–5 med.)", "two bananas (four to five medium.)"),
            ("Press ▶ or tap ⏸. ▶ First", "Press play or tap pause. ▶ First"),
            (
                "20 × 25 × 1 in., 2 × 3 × 4 = 24",
                "twenty by twenty five by one inch, two times three times four equals twenty four",
            ),
            ("Grill 5 mins./side.", "Grill five minutes per side."),
            ("$a_{ij} = b_{n}$ and $x_{min}$", "a i j equals b n and x min"),
            ("They lead, a lead pipe made of lead", "They leed, a lead pipe made of lead"),
        ],
    );
}
