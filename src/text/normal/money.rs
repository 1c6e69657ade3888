//! Currencies, and the magnitudes of sums.

/// A currency.
#[derive(Debug)]
pub(super) struct Currency {
    /// Name of one, and of several.
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    /// Names of its hundredth. Empty if there is none.
    pub(super) cent: &'static str,
    pub(super) cents: &'static str,
}

const fn currency(
    one: &'static str,
    many: &'static str,
    cent: &'static str,
    cents: &'static str,
) -> Currency {
    Currency { one, many, cent, cents }
}

static DOLLAR: Currency = currency("dollar", "dollars", "cent", "cents");
static EURO: Currency = currency("euro", "euros", "cent", "cents");
static POUND: Currency = currency("pound", "pounds", "penny", "pence");
static YEN: Currency = currency("yen", "yen", "", "");
static YUAN: Currency = currency("yuan", "yuan", "", "");
static RUPEE: Currency = currency("rupee", "rupees", "paisa", "paise");
static RUBLE: Currency = currency("ruble", "rubles", "kopeck", "kopecks");
static WON: Currency = currency("won", "won", "", "");
static LIRA: Currency = currency("lira", "lira", "", "");
static FRANC: Currency = currency("Swiss franc", "Swiss francs", "", "");
static SHEKEL: Currency = currency("shekel", "shekels", "", "");
static HRYVNIA: Currency = currency("hryvnia", "hryvnias", "", "");
static NAIRA: Currency = currency("naira", "naira", "", "");
static DONG: Currency = currency("dong", "dong", "", "");
static PESO: Currency = currency("peso", "pesos", "", "");
static BAHT: Currency = currency("baht", "baht", "", "");
static BITCOIN: Currency = currency("bitcoin", "bitcoin", "", "");
static KORUNA: Currency = currency("koruna", "korunas", "", "");
static KRONA: Currency = currency("krona", "kronor", "", "");
static KRONE: Currency = currency("krone", "kroner", "", "");
static ZLOTY: Currency = currency("zloty", "zlotys", "", "");
static REAL: Currency = currency("real", "reais", "", "");
static RAND: Currency = currency("rand", "rand", "", "");
static CENT: Currency = currency("cent", "cents", "", "");
static CEDI: Currency = currency("cedi", "cedis", "", "");
static US_DOLLAR: Currency = currency("U S dollar", "U S dollars", "cent", "cents");
static AUSTRALIAN: Currency = currency("Australian dollar", "Australian dollars", "cent", "cents");
static CANADIAN: Currency = currency("Canadian dollar", "Canadian dollars", "cent", "cents");
static NEW_ZEALAND: Currency = currency("New Zealand dollar", "New Zealand dollars", "cent", "cents");
static HONG_KONG: Currency = currency("Hong Kong dollar", "Hong Kong dollars", "cent", "cents");
static SINGAPORE: Currency = currency("Singapore dollar", "Singapore dollars", "cent", "cents");

/// The currency of a sign.
pub(super) fn by_sign(sign: char) -> Option<&'static Currency> {
    Some(match sign {
        '$' | '＄' => &DOLLAR,
        '€' => &EURO,
        '£' | '₤' => &POUND,
        '¥' => &YEN,
        '₹' | '₨' => &RUPEE,
        '₽' => &RUBLE,
        '₩' => &WON,
        '₺' => &LIRA,
        '₪' => &SHEKEL,
        '₴' => &HRYVNIA,
        '₦' => &NAIRA,
        '₫' => &DONG,
        '₱' => &PESO,
        '฿' => &BAHT,
        '₿' => &BITCOIN,
        '₵' => &CEDI,
        '¢' => &CENT,
        _ => return None,
    })
}

/// The currency of a code beside a figure.
pub(super) fn by_code(code: &str) -> Option<&'static Currency> {
    Some(match code {
        "USD" => &US_DOLLAR,
        "EUR" => &EURO,
        "GBP" => &POUND,
        "JPY" => &YEN,
        "CNY" | "RMB" => &YUAN,
        "INR" => &RUPEE,
        "RUB" => &RUBLE,
        "KRW" => &WON,
        "TRY" => &LIRA,
        "CHF" => &FRANC,
        "SEK" => &KRONA,
        "NOK" | "DKK" => &KRONE,
        "PLN" | "zł" => &ZLOTY,
        "CZK" | "Kč" => &KORUNA,
        "BRL" => &REAL,
        "ZAR" => &RAND,
        "AUD" => &AUSTRALIAN,
        "CAD" => &CANADIAN,
        "NZD" => &NEW_ZEALAND,
        "HKD" => &HONG_KONG,
        "SGD" => &SINGAPORE,
        "BTC" => &BITCOIN,
        _ => return None,
    })
}

/// The currency of a short name in front of a figure.
pub(super) fn by_name(name: &str) -> Option<&'static Currency> {
    Some(match name {
        "Rs" => &RUPEE,
        "kr" => &KRONA,
        _ => return None,
    })
}

/// The currency of letters before a dollar sign, such as the "US" of "US$5".
pub(super) fn by_prefix(letters: &str) -> Option<&'static Currency> {
    Some(match letters {
        "US" => &US_DOLLAR,
        "A" | "AU" => &AUSTRALIAN,
        "C" | "CA" | "CAD" => &CANADIAN,
        "NZ" => &NEW_ZEALAND,
        "HK" => &HONG_KONG,
        "S" => &SINGAPORE,
        "R" => &REAL,
        _ => return None,
    })
}

/// The word of a magnitude after a sum: "m" is a million there.
pub(super) fn magnitude(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "k" | "K" | "thousand" => "thousand",
        "m" | "M" | "mn" | "mln" | "mil" | "mio" | "Mio" | "MM" | "million" | "mm" => "million",
        "b" | "B" | "bn" | "bln" | "Bn" | "BN" | "billion" => "billion",
        "t" | "T" | "tn" | "trn" | "trillion" => "trillion",
        "hundred" => "hundred",
        "lakh" | "lakhs" => "lakh",
        "crore" | "crores" => "crore",
        _ => return None,
    })
}

/// The word of a magnitude that follows a figure which is no sum.
pub(super) fn count(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "k" => "thousand",
        "M" | "mn" | "mln" => "million",
        "B" | "bn" | "bln" => "billion",
        "tn" | "trn" => "trillion",
        _ => return None,
    })
}
