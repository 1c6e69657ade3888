//! Symbols that are words of their own, and marks that only decorate. No decisions.

/// The name of a symbol in a list of symbols with their names, divided by semicolons: "✓✔ check mark; ☆ star".
pub(super) fn named(list: &'static str, symbol: char) -> Option<&'static str> {
    let at = list.find(symbol).filter(|_| !symbol.is_ascii())?;
    // The name of another symbol has no symbol in it.
    let (_, rest) = list[at..].split_once(' ')?;
    Some(rest.split(';').next().unwrap_or(rest))
}

/// The name of a key, as it is drawn on a keyboard.
pub(super) fn key(c: char) -> Option<&'static str> {
    named(KEYS, c)
}

const KEYS: &str = "⌘ command; ⌥ option; ⇧ shift; ⌃ control; ⏎↵⌤⮐↩ return; ⎋ escape; ⇥↹ tab; ⇤ back tab; ⌫ delete; \
     ⌦ forward delete; ⌧ clear; ⇪ caps lock; ␣⎵ space; ⏏ eject; ⇞ page up; ⇟ page down; ⊞ windows";

/// The name of a symbol that reads the same wherever it stands.
pub(super) fn name(c: char) -> Option<&'static str> {
    named(NAMES, c)
}

const NAMES: &str = "✓✔☑🗸✅🗹 check mark; ✗✘☒☓❎❌🗴🗵🗶🗷 cross mark; ☐ check box; ☆ star; ♠♤ spades; ♣♧ clubs; ♦♢ diamonds; \
     ♮ natural; ♀ female; ♂ male; ♔♚ king; ♕♛ queen; ♖♜ rook; ♗♝ bishop; ♘♞ knight; ♙♟ pawn; \
     ⊕ circled plus; ⊗ circled times; ⊙ circled dot; ∘ composed with; ∠ angle; ⊥⟂ perpendicular to; \
     ∥ parallel to; ∦ not parallel to; ∣ divides; ∼ similar to; ≔ defined as; ≙ corresponds to; \
     ≢ not equivalent to; ≉ not approximately; ≮ not less than; ≯ not greater than; \
     ≲ less than or about; ≳ greater than or about; ≺ precedes; ≻ succeeds; ⊃⊇ superset of; \
     ⊄ not a subset of; ∖➖ minus; ∋ contains; ∄ there does not exist; ∵ because; ∮ contour integral; \
     ∬ double integral; ∜ fourth root of; ⊢ proves; ⊨ models; ⊤ true; △ triangle; ‱ per ten thousand; \
     ℮ estimated; ℗ published; ℞ prescription; ⇐ is implied by; ↦ maps to; ↗↖⇑ up; ↘↙⇓ down; \
     ⇄⇆⇌⇋ to and from; ↕ up and down; ⇨⮕⇾⇝⇢⇉⇛⟿ to; † dagger; ‡ double dagger; ‽ question mark; \
     ¦ broken bar; ¤ currency; ☰ menu; ☉ sun; ☿ Mercury; ♁ Earth; ♃ Jupiter; ♄ Saturn; ♅⛢ Uranus; \
     ♆ Neptune; ♇ Pluto; ⚤ female and male; ⚥ male and female; ⚧ transgender; ⚭ married; ⚮ divorced; \
     ♩ quarter note; ♾ infinity; ⚀ die one; ⚁ die two; ⚂ die three; ⚃ die four; ⚄ die five; ⚅ die six; \
     ⏻⏼⏽ power; ⏾ sleep; ➕ plus; ➗ divided by; 🟰 equals";

/// The direction of an arrow: right, left, up, down, or both ways. `None` for arrows of another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrow {
    Right,
    Left,
    Up,
    Down,
    Both,
}

/// The direction of an arrow without a meaning of its own.
pub(super) fn arrow(c: char) -> Option<Arrow> {
    let turned = |n: u32| [Arrow::Left, Arrow::Up, Arrow::Right, Arrow::Down][n as usize % 4];
    Some(match c {
        '←'..='↓' => turned(u32::from(c)),
        '⬅'..='⬇' => [Arrow::Left, Arrow::Up, Arrow::Down][(u32::from(c) - 0x2b05) as usize],
        '⭠'..='⭣' => turned(u32::from(c)),
        '↔' | '⟷' | '⬌' | '⭤' => Arrow::Both,
        '⟵' => Arrow::Left,
        '⟶' | '⮕' | '➔' => Arrow::Right,
        '➘' | '➴' | '➷' | '⬊' | '⬋' => Arrow::Down,
        '➚' | '➶' | '➹' | '⬈' | '⬉' => Arrow::Up,
        '➙'..='➯' | '➱'..='➾' => Arrow::Right,
        '\u{1f800}'..='\u{1f847}' | '\u{1f890}'..='\u{1f897}' => turned(u32::from(c)),
        '\u{1f850}'..='\u{1f857}' | '\u{1f860}'..='\u{1f887}' => match u32::from(c) % 8 {
            4 | 5 => Arrow::Up,
            6 | 7 => Arrow::Down,
            n => turned(n),
        },
        _ => return None,
    })
}

/// The name of a playing card: "ace of spades". The cards are in four rows of suits.
pub(super) fn card(c: char) -> Option<String> {
    const RANKS: &str = "ace two three four five six seven eight nine ten jack knight queen king";
    let place = u32::from(c).checked_sub(0x1f0a0)?;
    let suit = ["spades", "hearts", "diamonds", "clubs"].get(place as usize / 16)?;
    let rank = RANKS.split(' ').nth((place % 16).checked_sub(1)? as usize)?;
    Some(format!("{rank} of {suit}"))
}

/// The name of an accent of TeX, which follows its letter: the hat of "\\hat{x}".
pub(super) fn accent(name: &str) -> Option<&'static str> {
    Some(match name {
        "hat" | "widehat" => "hat",
        "bar" | "overline" => "bar",
        "tilde" | "widetilde" => "tilde",
        "dot" => "dot",
        "ddot" => "double dot",
        _ => return None,
    })
}

/// The name of an accent that is a character of its own behind its letter: the bar of "x̄".
pub(super) fn accent_of(mark: char) -> Option<&'static str> {
    Some(match mark {
        '\u{302}' => "hat",
        '\u{303}' => "tilde",
        '\u{304}' | '\u{305}' => "bar",
        '\u{307}' => "dot",
        '\u{308}' => "double dot",
        '\u{20d7}' => "vector",
        _ => return None,
    })
}

/// The words of a command of TeX that is a sign: "sqrt" of "\\sqrt{2}". Empty for those that only lay out.
pub(super) fn command(name: &str) -> Option<&'static str> {
    const COMMANDS: &str = "sqrt square root of;frac ;dfrac ;tfrac ;times times;cdot times;div divided by;pm plus or minus;\
         leq less than or equal to;le less than or equal to;geq greater than or equal to;ge greater than or equal to;\
         neq not equal to;ne not equal to;approx approximately;equiv equivalent to;infty infinity;to to;rightarrow to;\
         Rightarrow implies;implies implies;in in;notin not in;cup union;cap intersection;subset subset of;sum sum;\
         prod product;int integral;partial partial;nabla nabla;forall for all;exists there exists;propto proportional to;\
         circ degrees;ldots and so on;cdots and so on;dots and so on;dotsb and so on;dotsc and so on;left ;right ;text ;mathrm ;mathbf ;mathbb ;quad ;\
         alpha alpha;beta beta;gamma gamma;delta delta;epsilon epsilon;theta theta;lambda lambda;mu mu;pi pi;rho rho;\
         sigma sigma;tau tau;phi phi;omega omega;Delta delta;Sigma sigma;Omega omega;sin sine;cos cosine;tan tangent;\
         log log;ln natural log;lim limit;sec secant;csc cosecant;cot cotangent;arcsin arc sine;arccos arc cosine;\
         arctan arc tangent;min minimum;max maximum;exp exp;det determinant;gcd G C D;mod mod;bmod mod;pmod mod;\
         vec vector;overrightarrow vector;angle angle;triangle triangle;perp perpendicular to;parallel parallel to;\
         cong congruent to;sim similar to;therefore therefore;because because;mp minus or plus;ast star;star star;\
         ll much less than;gg much greater than;subseteq subset of;supset superset of;supseteq superset of;\
         emptyset empty set;varnothing empty set;setminus minus;land and;wedge and;lor or;vee or;neg not;lnot not;\
         leftarrow from;gets from;lvert absolute value of;rvert ;lVert norm of;rVert ;hookrightarrow to;longmapsto maps to;\
         Longrightarrow implies;Longleftrightarrow if and only if;uparrow up;downarrow down;rangle ;mapsto maps to;longrightarrow to;Leftrightarrow if and only if;iff if and only if;\
         leftrightarrow to and from;degree degrees;prime prime;ell L;hbar H bar;binom binomial;oint integral;iint integral;\
         lfloor floor of;rfloor ;lceil ceiling of;rceil ;mid such that;boxed ;mathcal ;mathit ;mathsf ;mathfrak ;\
         mathscr ;boldsymbol ;bm ;textbf ;textit ;textrm ;operatorname ;displaystyle ;textstyle ;limits ;nolimits ;\
         qquad ;big ;Big ;bigg ;Bigg ;bigl ;bigr ;Bigl ;Bigr ;vdots ;ddots ;overline ;underline ;cfrac ;underbrace ;overbrace ;ce ;choose choose;\
         varepsilon epsilon;zeta zeta;eta eta;vartheta theta;iota iota;kappa kappa;nu nu;xi xi;chi kai;psi psi;\
         varphi phi;Gamma gamma;Theta theta;Lambda lambda;Xi xi;Pi pi;Phi phi;Psi psi";
    COMMANDS.split(';').find_map(|command| {
        let (known, words) = command.split_once(' ')?;
        (known == name).then_some(words)
    })
}

/// The words of a sign that has the same ones everywhere.
pub(super) fn sign(sign: char) -> Option<&'static str> {
    named(SIGNS, sign)
}

const SIGNS: &str = "≥⩾ greater than or equal to; ≤⩽ less than or equal to; ≠ not equal to; ≡ equivalent to; ∝ proportional to; ≪ much less than; ≫ much greater than; ∞ infinity; ∛ cube root of; ∑ sum; ∏ product; ∫ integral; ∂ partial; ∆ delta; ∇ nabla; ∈ in; ∉ not in; ∀ for all; ∃ there exists; ∪ union; ∩ intersection; ⊂⊆ subset of; ∅ empty set; ∧ and; ∨ or; ¬ not; ∴ therefore; ⇒⟹ implies; ⇔⟺ if and only if; ♯ sharp; ♭ flat; ٪ percent; ‰ per mille; № number; ⌀ diameter; © copyright; ® registered; ™ trademark; ℠ service mark";

/// The name of a key of a player.
pub(super) fn player(mark: char) -> Option<&'static str> {
    named("▶⏵ play; ⏸ pause; ⏹ stop; ⏺ record; ⏭ next; ⏮ previous; ⏩ fast forward; ⏪ rewind; ⏏ eject", mark)
}

/// True for a mark with nothing else in its line or its cell, or behind a colon.
pub(super) fn is_lone(text: &str, at: usize, end: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '\t']).chars().next_back();
    let after = text[end..].trim_start_matches([' ', '\t']).chars().next();
    before.is_none_or(|c| matches!(c, '\n' | ':' | '|' | ',' | ';' | '(' | '/'))
        && after.is_none_or(|c| matches!(c, '\n' | '|' | ',' | ';' | ')' | '/' | '.'))
}

/// The name of a Greek letter.
pub(super) fn greek(c: char) -> Option<&'static str> {
    Some(match c {
        'α' | 'Α' => "alpha",
        'β' | 'Β' => "beta",
        'γ' | 'Γ' => "gamma",
        'δ' | 'Δ' => "delta",
        'ε' | 'ϵ' | 'Ε' => "epsilon",
        'ζ' | 'Ζ' => "zeta",
        'η' | 'Η' => "eta",
        'θ' | 'ϑ' | 'Θ' => "theta",
        'ι' | 'Ι' => "iota",
        'κ' | 'Κ' => "kappa",
        'λ' | 'Λ' => "lambda",
        'μ' | 'Μ' | 'µ' => "mu",
        'ν' | 'Ν' => "nu",
        'ξ' | 'Ξ' => "xi",
        'ο' => "omicron",
        'π' | 'Π' => "pi",
        'ρ' | 'Ρ' => "rho",
        'σ' | 'ς' | 'Σ' => "sigma",
        'τ' | 'Τ' => "tau",
        'υ' => "upsilon",
        'φ' | 'ϕ' | 'Φ' => "phi",
        'χ' | 'Χ' => "kai",
        'ψ' | 'Ψ' => "psi",
        'ω' | 'Ω' => "omega",
        _ => return None,
    })
}
