//! Units and their names.

/// Name of one unit, and of several.
pub(super) type Names = (&'static str, &'static str);

/// Names of a unit. `is_attached` is true if it follows its figure without a space, where some more symbols are
/// units.
pub(super) fn unit(symbol: &str, is_attached: bool) -> Option<Names> {
    Some(match symbol {
        // Length.
        "m" | "mtr" | "mtrs" => ("meter", "meters"),
        "km" | "kms" | "Km" | "KM" => ("kilometer", "kilometers"),
        "cm" | "cms" | "CM" => ("centimeter", "centimeters"),
        "mm" | "MM" => ("millimeter", "millimeters"),
        "dm" => ("decimeter", "decimeters"),
        "µm" | "μm" | "um" => ("micrometer", "micrometers"),
        "nm" => ("nanometer", "nanometers"),
        "ft" | "FT" | "Ft" => ("foot", "feet"),
        "yd" | "yds" => ("yard", "yards"),
        "mi" => ("mile", "miles"),
        "nmi" => ("nautical mile", "nautical miles"),
        "ly" => ("light year", "light years"),
        "in" | "IN" if is_attached => ("inch", "inches"),
        "ins" => ("inch", "inches"),
        // Mass.
        "g" | "gm" | "gms" => ("gram", "grams"),
        "kg" | "kgs" | "Kg" | "KG" => ("kilogram", "kilograms"),
        "mg" => ("milligram", "milligrams"),
        "µg" | "μg" | "mcg" | "ug" => ("microgram", "micrograms"),
        "ng" => ("nanogram", "nanograms"),
        "t" => ("ton", "tons"),
        "oz" | "ozs" | "Oz" | "OZ" => ("ounce", "ounces"),
        "lb" | "lbs" | "LB" | "LBS" | "Lb" | "Lbs" => ("pound", "pounds"),
        // Volume and the kitchen.
        "l" | "L" | "ltr" => ("liter", "liters"),
        "ml" | "mL" | "ML" => ("milliliter", "milliliters"),
        "cl" | "cL" => ("centiliter", "centiliters"),
        "dl" | "dL" => ("deciliter", "deciliters"),
        "hl" | "hL" => ("hectoliter", "hectoliters"),
        "µl" | "μl" | "µL" | "μL" | "ul" | "uL" => ("microliter", "microliters"),
        "cc" => ("cubic centimeter", "cubic centimeters"),
        "tsp" | "tsps" | "Tsp" | "TSP" => ("teaspoon", "teaspoons"),
        "tbsp" | "tbsps" | "Tbsp" | "Tbsps" | "TBSP" | "tbs" | "tblsp" | "Tbs" | "tbl" => {
            ("tablespoon", "tablespoons")
        }
        "floz" => ("fluid ounce", "fluid ounces"),
        "pt" if !is_attached => ("pint", "pints"),
        "pt" => ("point", "points"),
        "pts" => ("point", "points"),
        "qt" | "qts" => ("quart", "quarts"),
        "gal" | "gals" => ("gallon", "gallons"),
        "bbl" => ("barrel", "barrels"),
        "doz" => ("dozen", "dozen"),
        "pkg" | "pkt" => ("package", "packages"),
        "pkgs" | "pkts" => ("package", "packages"),
        "pc" => ("piece", "pieces"),
        "pk" => ("pack", "pack"),
        "pcs" => ("piece", "pieces"),
        // Area.
        "ha" => ("hectare", "hectares"),
        "sqft" => ("square foot", "square feet"),
        "sqm" => ("square meter", "square meters"),
        // Time.
        "s" | "sec" | "secs" => ("second", "seconds"),
        "ms" | "msec" => ("millisecond", "milliseconds"),
        "µs" | "μs" | "us" if is_attached || !symbol.is_ascii() => ("microsecond", "microseconds"),
        "ns" => ("nanosecond", "nanoseconds"),
        "min" | "mins" => ("minute", "minutes"),
        "h" | "hr" | "hrs" => ("hour", "hours"),
        "d" if is_attached => ("day", "days"),
        "wk" | "wks" => ("week", "weeks"),
        "mo" | "mos" | "mth" | "mths" => ("month", "months"),
        "yr" | "yrs" => ("year", "years"),
        "yo" if is_attached => ("year old", "year old"),
        // Speed.
        "mph" | "MPH" => ("mile per hour", "miles per hour"),
        "kph" | "kmh" | "KPH" | "kmph" => ("kilometer per hour", "kilometers per hour"),
        "mps" => ("meter per second", "meters per second"),
        "fps" => ("frame per second", "frames per second"),
        "kt" | "kts" | "kn" => ("knot", "knots"),
        "rpm" | "RPM" => ("revolution per minute", "revolutions per minute"),
        "bpm" | "BPM" => ("beat per minute", "beats per minute"),
        "mpg" | "MPG" => ("mile per gallon", "miles per gallon"),
        "wpm" => ("word per minute", "words per minute"),
        "ppg" => ("point per game", "points per game"),
        "rpg" => ("rebound per game", "rebounds per game"),
        "apg" => ("assist per game", "assists per game"),
        // Frequency.
        "Hz" | "hz" | "HZ" => ("hertz", "hertz"),
        "kHz" | "KHz" | "khz" | "KHZ" => ("kilohertz", "kilohertz"),
        "MHz" | "Mhz" | "mhz" | "MHZ" => ("megahertz", "megahertz"),
        "GHz" | "Ghz" | "ghz" | "GHZ" => ("gigahertz", "gigahertz"),
        "THz" => ("terahertz", "terahertz"),
        // Electricity and light.
        "V" => ("volt", "volts"),
        "VDC" | "Vdc" => ("volt D C", "volts D C"),
        "VAC" | "Vac" => ("volt A C", "volts A C"),
        "mV" => ("millivolt", "millivolts"),
        "kV" | "KV" => ("kilovolt", "kilovolts"),
        "W" => ("watt", "watts"),
        "mW" => ("milliwatt", "milliwatts"),
        "kW" | "KW" | "kw" => ("kilowatt", "kilowatts"),
        "MW" => ("megawatt", "megawatts"),
        "GW" => ("gigawatt", "gigawatts"),
        "TW" => ("terawatt", "terawatts"),
        "Wh" => ("watt hour", "watt hours"),
        "kWh" | "KWh" | "kwh" | "KWH" => ("kilowatt hour", "kilowatt hours"),
        "MWh" => ("megawatt hour", "megawatt hours"),
        "GWh" => ("gigawatt hour", "gigawatt hours"),
        "TWh" => ("terawatt hour", "terawatt hours"),
        "A" | "amp" | "amps" => ("amp", "amps"),
        "mA" => ("milliamp", "milliamps"),
        "µA" | "μA" => ("microamp", "microamps"),
        "Ah" => ("amp hour", "amp hours"),
        "mAh" | "mah" => ("milliamp hour", "milliamp hours"),
        "Ω" => ("ohm", "ohms"),
        "kΩ" | "KΩ" => ("kiloohm", "kiloohms"),
        "MΩ" => ("megaohm", "megaohms"),
        "mΩ" => ("milliohm", "milliohms"),
        "µF" | "μF" | "uF" => ("microfarad", "microfarads"),
        "nF" => ("nanofarad", "nanofarads"),
        "pF" => ("picofarad", "picofarads"),
        "VA" if is_attached => ("volt amp", "volt amps"),
        "kVA" => ("kilovolt amp", "kilovolt amps"),
        "mH" => ("millihenry", "millihenries"),
        "T" if !is_attached => ("tesla", "tesla"),
        "lm" => ("lumen", "lumens"),
        "lx" => ("lux", "lux"),
        "cd" => ("candela", "candelas"),
        "dB" | "db" => ("decibel", "decibels"),
        "dBA" => ("decibel A", "decibels A"),
        "dBm" => ("decibel milliwatt", "decibel milliwatts"),
        // Force, pressure, energy.
        "N" => ("newton", "newtons"),
        "kN" => ("kilonewton", "kilonewtons"),
        "Nm" => ("newton meter", "newton meters"),
        "Pa" => ("pascal", "pascals"),
        "hPa" => ("hectopascal", "hectopascals"),
        "kPa" => ("kilopascal", "kilopascals"),
        "MPa" => ("megapascal", "megapascals"),
        "GPa" => ("gigapascal", "gigapascals"),
        "mbar" => ("millibar", "millibars"),
        "mb" if !is_attached => ("millibar", "millibars"),
        "bar" => ("bar", "bar"),
        "psi" | "PSI" => ("pound per square inch", "pounds per square inch"),
        "atm" => ("atmosphere", "atmospheres"),
        "mmHg" => ("millimeter of mercury", "millimeters of mercury"),
        "inHg" => ("inch of mercury", "inches of mercury"),
        "J" => ("joule", "joules"),
        "kJ" => ("kilojoule", "kilojoules"),
        "MJ" => ("megajoule", "megajoules"),
        "cal" => ("calorie", "calories"),
        "kcal" | "Kcal" | "Cal" | "kcals" => ("kilocalorie", "kilocalories"),
        "eV" => ("electron volt", "electron volts"),
        "keV" => ("kiloelectron volt", "kiloelectron volts"),
        "MeV" => ("megaelectron volt", "megaelectron volts"),
        "GeV" => ("gigaelectron volt", "gigaelectron volts"),
        "BTU" | "BTUs" | "Btu" => ("B T U", "B T Us"),
        "hp" | "HP" | "bhp" => ("horsepower", "horsepower"),
        "K" if !is_attached => ("kelvin", "kelvin"),
        "mK" => ("millikelvin", "millikelvin"),
        "Bq" => ("becquerel", "becquerels"),
        "Sv" => ("sievert", "sieverts"),
        "mSv" => ("millisievert", "millisieverts"),
        "Gy" => ("gray", "gray"),
        // Data.
        "bit" | "bits" => ("bit", "bits"),
        "B" if !is_attached => ("byte", "bytes"),
        "kB" | "KB" | "Kb" | "kb" => ("kilobyte", "kilobytes"),
        "MB" | "Mb" => ("megabyte", "megabytes"),
        "mb" => ("megabyte", "megabytes"),
        "GB" | "Gb" | "gb" => ("gigabyte", "gigabytes"),
        "TB" | "Tb" | "tb" => ("terabyte", "terabytes"),
        "PB" => ("petabyte", "petabytes"),
        "EB" => ("exabyte", "exabytes"),
        "KiB" | "kiB" => ("kibibyte", "kibibytes"),
        "MiB" => ("mebibyte", "mebibytes"),
        "GiB" => ("gibibyte", "gibibytes"),
        "TiB" => ("tebibyte", "tebibytes"),
        "bps" => ("bit per second", "bits per second"),
        "kbps" | "Kbps" => ("kilobit per second", "kilobits per second"),
        "Mbps" | "mbps" => ("megabit per second", "megabits per second"),
        "Gbps" | "gbps" => ("gigabit per second", "gigabits per second"),
        "Tbps" => ("terabit per second", "terabits per second"),
        "MBps" => ("megabyte per second", "megabytes per second"),
        "kbit" => ("kilobit", "kilobits"),
        "Mbit" => ("megabit", "megabits"),
        "Gbit" => ("gigabit", "gigabits"),
        "px" => ("pixel", "pixels"),
        "MP" | "Mpx" => ("megapixel", "megapixels"),
        "dpi" | "DPI" => ("dot per inch", "dots per inch"),
        "ppi" | "PPI" => ("pixel per inch", "pixels per inch"),
        // Chemistry and medicine.
        "mol" => ("mole", "moles"),
        "mEq" => ("milliequivalent", "milliequivalents"),
        "mM" => ("millimolar", "millimolar"),
        "µM" | "μM" => ("micromolar", "micromolar"),
        "mmol" => ("millimole", "millimoles"),
        "µmol" | "μmol" => ("micromole", "micromoles"),
        "ppm" => ("part per million", "parts per million"),
        "ppb" => ("part per billion", "parts per billion"),
        "IU" => ("I U", "I U"),
        "kDa" => ("kilodalton", "kilodaltons"),
        "env" => ("envelope", "envelopes"),
        "btl" => ("bottle", "bottles"),
        "sl" => ("slice", "slices"),
        "ct" => ("carat", "carats"),
        "bp" => ("basis point", "basis points"),
        _ => return None,
    })
}

/// True if a symbol behind a space is a unit only where no word follows: it is a word or a name in other
/// places.
pub(super) fn is_doubtful(symbol: &str) -> bool {
    matches!(symbol, "A" | "B" | "K" | "T" | "J" | "N" | "MP" | "cd" | "ct" | "Cal" | "bar" | "d")
}

/// True for units that have squares and cubes.
pub(super) fn is_length(symbol: &str) -> bool {
    matches!(symbol, "m" | "km" | "cm" | "mm" | "dm" | "µm" | "μm" | "nm" | "ft" | "in" | "yd" | "mi" | "s")
}

/// True for abbreviations that are often written with a full stop.
pub(super) fn has_stop(symbol: &str) -> bool {
    matches!(
        symbol.to_ascii_lowercase().as_str(),
        "in" | "ft"
            | "yd"
            | "yds"
            | "mi"
            | "oz"
            | "lb"
            | "lbs"
            | "tsp"
            | "tsps"
            | "tbsp"
            | "tbsps"
            | "tbs"
            | "tbl"
            | "tblsp"
            | "pt"
            | "pts"
            | "qt"
            | "qts"
            | "gal"
            | "gals"
            | "min"
            | "mins"
            | "hr"
            | "hrs"
            | "sec"
            | "secs"
            | "wk"
            | "wks"
            | "mo"
            | "mos"
            | "yr"
            | "yrs"
            | "doz"
            | "pkg"
            | "pkgs"
            | "pkt"
            | "pkts"
            | "env"
            | "btl"
            | "sl"
            | "pcs"
            | "pc"
            | "cm"
            | "mm"
            | "km"
            | "kg"
            | "mg"
            | "ml"
            | "sq"
            | "cu"
            | "fl"
            | "cal"
            | "approx"
            | "h"
            | "ins"
    )
}

/// Words after "/" or "per" that are no units, such as "month".
pub(super) fn period(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "h" | "hr" | "hour" => "hour",
        "d" | "day" => "day",
        "s" | "sec" | "second" => "second",
        "min" | "minute" => "minute",
        "wk" | "w" | "week" => "week",
        "mo" | "mth" | "month" => "month",
        "yr" | "y" | "a" | "year" => "year",
        "night" | "nt" => "night",
        "pp" => "person",
        "ea" => "each",
        "gal" => "gallon",
        "lb" => "pound",
        "oz" => "ounce",
        _ => {
            let wholes = ["serving", "portion", "slice", "person", "page", "seat", "user"];
            return wholes.into_iter().find(|whole| *whole == symbol);
        }
    })
}
