//! The elements of HTML, and what each does to the text around it.

/// Kind of an element, by its effect on speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Part of its sentence.
    Inline,
    /// Separated from the words beside it, in the same sentence.
    Phrase,
    /// A paragraph of its own.
    Block,
    Heading,
    /// An item of a list.
    Item,
    Row,
    Cell,
    /// The end of a line.
    Break,
    /// Preformatted text, in which line breaks count.
    Preformatted,
    Image,
    /// Not spoken, with all it contains.
    Silent,
}

const INLINE: &str = "a abbr acronym b basefont bdi bdo bgsound big blink cite code data del dfn em font i ins kbd \
                      keygen link map area mark marquee meta base nobr portal q rb rbc rp ruby s samp small \
                      source span strike strong sub sup time track tt u var wbr slot shadow content spacer param \
                      math mspace mrow mfrac msqrt mroot mstyle merror mpadded mphantom mfenced \
                      menclose maction mglyph mlabeledtr mstack mlongdiv maligngroup malignmark msub msup msubsup munder mover munderover mmultiscripts mprescripts semantics \
                      picture image output meter progress embed frame command element nextid object applet canvas \
                      noscript";
const PHRASE: &str = "rt rtc button input label select option optgroup mi mn mo ms mtext mtr mtd mtable";
const BLOCK: &str = "address article aside blockquote body center details dialog dir div dl fieldset figcaption \
                     figure footer form frameset header hgroup hr html legend listing main menu menuitem nav ol p \
                     plaintext search section summary table tbody tfoot thead caption ul col colgroup xmp textarea \
                     noframes multicol isindex";
/// The content of these is for programs, or a browser never shows it as text of the page.
const SILENT: &str = "script style template head svg iframe audio video title datalist noembed annotation \
                      annotation-xml";

/// Elements that end a drawing, as in a browser.
const ENDS_DRAWING: &str = "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img \
                            li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul \
                            var";

/// Attributes that are written without a value.
const FLAGS: &str = "allowfullscreen async autofocus autoplay checked compact controls crossorigin declare default defer \
                     disabled download formnovalidate hidden inert ismap itemscope loop multiple muted nohref nomodule \
                     noresize noshade novalidate nowrap open playsinline popover readonly required reversed scoped \
                     seamless selected truespeed";

fn lists(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == name)
}

/// Returns the kind of an element with this name, in lower case; `None` if HTML has no such element.
pub(super) fn of(name: &str) -> Option<Element> {
    Some(match name {
        "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Element::Heading,
        "li" | "dt" | "dd" => Element::Item,
        "br" => Element::Break,
        "tr" => Element::Row,
        "td" | "th" => Element::Cell,
        "img" => Element::Image,
        "pre" => Element::Preformatted,
        _ if lists(INLINE, name) => Element::Inline,
        _ if lists(PHRASE, name) => Element::Phrase,
        _ if lists(BLOCK, name) => Element::Block,
        _ if lists(SILENT, name) => Element::Silent,
        _ => return None,
    })
}

/// True for an attribute that has a meaning without a value.
pub(super) fn is_flag(attribute: &str) -> bool {
    let is_of_framework = attribute.contains(['-', ':', '@', '#', '.', '*']);
    is_of_framework || lists(FLAGS, &attribute.to_ascii_lowercase())
}

/// True for an element that ends a drawing (`svg`) around it.
pub(super) fn ends_drawing(name: &str) -> bool {
    lists(ENDS_DRAWING, name)
}

/// True for a silent element whose content is no HTML: it ends with its end tag alone.
pub(super) fn is_raw(name: &str) -> bool {
    matches!(name, "script" | "style" | "title" | "iframe" | "noembed")
}

/// True for an element without an end tag.
pub(super) fn is_void(name: &str) -> bool {
    lists(
        "area base basefont bgsound br col embed frame hr img image input keygen link meta param source track wbr",
        name,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_known_by_their_names() {
        for (name, expected) in [
            ("b", Some(Element::Inline)),
            ("p", Some(Element::Block)),
            ("h3", Some(Element::Heading)),
            ("script", Some(Element::Silent)),
            ("td", Some(Element::Cell)),
            ("enter", None),
            ("ctrl", None),
            ("quest", None),
            ("h7", None),
            ("", None),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
        for list in [INLINE, PHRASE, BLOCK, SILENT] {
            for name in list.split_ascii_whitespace() {
                assert!(of(name).is_some(), "{name}");
            }
        }
    }
}
