//! Addresses: of mail, of pages, of hosts, and telephone numbers.

use super::english::Reader;
use super::numbers::{self, add};
use super::walk::Walk;

/// Most bytes of an address that is read. A longer one is read up to its host.
pub(super) const MOST: usize = 120;

/// Last parts of the names of hosts and files.
const ENDINGS: &[&str] = &[
    "com", "org", "net", "io", "dev", "ai", "co", "uk", "de", "fr", "eu", "gov", "edu", "app", "info", "me",
    "tv", "us", "ca", "au", "es", "it", "nl", "ch", "at", "jp", "cn", "in", "br", "xyz", "biz", "txt", "pdf",
    "rs", "py", "js", "ts", "json", "html", "css", "md", "toml", "yaml", "yml", "csv", "exe", "zip", "png",
    "jpg", "jpeg", "gif", "mp3", "mp4", "wav", "doc", "docx", "xls", "xlsx", "sh", "cpp", "java", "xml",
    "so", "be", "gg", "int", "mil", "ru", "online", "store", "shop", "site", "tech", "blog", "cloud", "page",
    "svg", "gz", "tar", "dll", "ini", "cfg", "conf", "log", "sql", "go", "rb", "php",
];

impl Reader<'_> {
    /// An address in a run without white space. Marks and words before it are copied.
    pub(super) fn address(&mut self, token: usize, token_end: usize) -> Option<usize> {
        let end = self.address_of(token, token_end)?;
        // The quotes before it, which no other pattern sees.
        let skipped = self.s.get(token..self.word.start).unwrap_or_default();
        self.is_quoted ^= skipped.matches('"').count() % 2 == 1;
        Some(end)
    }

    fn address_of(&mut self, token: usize, token_end: usize) -> Option<usize> {
        let written = &self.s[token..token_end];
        // Most words have neither.
        if !written.bytes().any(|b| matches!(b, b'@' | b'.' | b'/' | b'\\')) {
            return None;
        }
        if let Some(end) = self.path(token, token_end) {
            return Some(end);
        }
        // Marks and words that are glued to its front: "Email:jane@example.com", "it(example.com)".
        let is_glue = |c: char| {
            matches!(
                c,
                '(' | '<'
                    | '['
                    | '{'
                    | '"'
                    | '\''
                    | '“'
                    | '‘'
                    | '«'
                    | '»'
                    | '—'
                    | '–'
                    | '„'
                    | ','
                    | ';'
                    | '='
                    | '|'
            )
        };
        let scheme = ["https://", "http://"].iter().find_map(|scheme| written.find(scheme));
        let head = match (scheme, written.find(['@', '/'])) {
            (Some(scheme), _) => &written[..scheme],
            (None, Some(sign)) => &written[..sign],
            (None, None) => written.trim_end_matches(|c: char| !c.is_alphanumeric()),
        };
        let is_mail = written[head.len()..].starts_with('@');
        let open = match scheme {
            Some(scheme) => scheme,
            None => head
                .char_indices()
                .rfind(|(_, c)| is_glue(*c) || is_mail && *c == ':')
                .filter(|(at, _)| !written[..*at].ends_with("mailto"))
                .map_or(0, |(at, c)| at + c.len_utf8()),
        };
        let inner = written[open..].trim_end_matches([
            '.', ',', ';', ':', '!', '?', ')', '>', ']', '}', '"', '\'', '”', '’', '»', '«', '—', '–',
        ]);
        // A second address behind the first one, and "(https://example.com)](more)".
        let closer = match written[..open].chars().next_back() {
            Some('(') => Some(')'),
            Some('[') => Some(']'),
            Some('<') => Some('>'),
            Some('"') => Some('"'),
            _ => None,
        };
        let is_over = |c: char| closer == Some(c) || is_mail && scheme.is_none() && matches!(c, ',' | ';');
        let inner = &inner[..inner.find(is_over).unwrap_or(inner.len())];
        let at = token + open;
        let end = at + inner.len();
        if let Some((scheme, rest)) = inner.split_once("://") {
            if !matches!(
                scheme,
                "http" | "https" | "ftp" | "sftp" | "file" | "ws" | "wss" | "ssh" | "git" | "s3"
            ) || rest.is_empty()
            {
                return None;
            }
            return Some(self.page(at, end, scheme.len() + 3));
        }
        if inner.starts_with("www.") {
            return Some(self.page(at, end, 0));
        }
        if let Some(mail) = inner.strip_prefix("mailto:") {
            return mail.contains('@').then(|| self.spell(at, "mailto:".len() + at, end));
        }
        if let Some((user, host)) = inner.split_once('@') {
            let is_name = |text: &str| {
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
            };
            return (is_name(user) && is_name(host) && host.contains('.')).then(|| self.spell(at, at, end));
        }
        let (host, path) = inner.split_once('/').unwrap_or((inner, ""));
        let (name, ending) = host.rsplit_once('.')?;
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            && (name.split('.').all(|part| part.len() > 1)
                || name.len() == 1 && (ending == "com" || !path.is_empty()))
            && name.bytes().any(|b| b.is_ascii_alphabetic());
        // "it.In" lacks a space.
        let is_file = ending.len() > 2 && ENDINGS.contains(&ending.to_ascii_lowercase().as_str());
        let is_ending = (ENDINGS.contains(&ending) || is_file) && !(ending.len() == 2 && name.len() < 3);
        (is_name && is_ending && (path.is_empty() || path.is_ascii())).then(|| self.spell(at, at, end))
    }

    /// The path of a file: "/usr/bin", "~/notes.txt", "src/main.rs", "C:\Users".
    fn path(&mut self, token: usize, token_end: usize) -> Option<usize> {
        let written = &self.s[token..token_end];
        let open = written.len() - written.trim_start_matches(['(', '[', '"', '\'', '“', '‘', '`']).len();
        let inner = written[open..]
            .trim_end_matches([',', ';', ':', '!', '?', ')', ']', '"', '\'', '”', '’', '`'])
            .trim_end_matches('.');
        let is_drive = matches!(inner.as_bytes(), [b'A'..=b'Z' | b'a'..=b'z', b':', b'\\', ..]);
        let is_plain = inner.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'.' | b'-' | b'_' | b'/' | b'~' | b'+' | b'*')
                || is_drive && matches!(b, b':' | b'\\')
        });
        let parts = inner.split('/').skip(1);
        let is_root = inner.starts_with('/') && parts.clone().count() > 1;
        let is_home = ["~/", "./", "../"].iter().any(|start| inner.starts_with(start));
        let is_file = || {
            let (folders, file) = inner.rsplit_once('/')?;
            let (name, ending) = file.rsplit_once('.')?;
            let is_name = |name: &str| {
                name.len() > 1
                    && name.bytes().any(|b| b.is_ascii_alphabetic())
                    && name != "and"
                    && name != "or"
            };
            (is_name(name) && folders.split('/').all(is_name) && ENDINGS.contains(&ending)).then_some(())
        };
        let has_name = parts
            .clone()
            .any(|part| part.trim_start_matches('.').starts_with(|c: char| c.is_ascii_alphabetic()))
            && parts.clone().all(|part| !part.is_empty() || inner.ends_with('/'));
        let is_path = is_plain
            && (is_drive
                || (is_root || is_home) && has_name
                || !inner.contains("://") && !inner.starts_with("www.") && is_file().is_some());
        // A host before the first slash is a page.
        let host = inner.split('/').next().unwrap_or_default();
        let is_host = !is_home && host.rsplit_once('.').is_some_and(|(name, _)| !name.is_empty());
        if !is_path || is_host {
            return None;
        }
        let at = token + open;
        Some(self.spell(at, at, at + inner.len()))
    }

    /// The address of a page: without its scheme.
    fn page(&mut self, at: usize, end: usize, skipped: usize) -> usize {
        let from = at + skipped;
        let from = if self.s[from..end].starts_with("www.") { from + 4 } else { from };
        self.spell(at, from, end)
    }

    /// Reads the parts of an address and the signs between them.
    fn spell(&mut self, at: usize, from: usize, end: usize) -> usize {
        let written = &self.s[from..end];
        let host = written.find('/').unwrap_or(written.len());
        let read = if written.len() > MOST { &written[..host.min(MOST)] } else { written };
        let mut words = String::new();
        let mut part = 0;
        for (n, c) in read.char_indices() {
            let name = match c {
                '.' => "dot",
                '/' if n + 1 == read.len() => "",
                '/' => "slash",
                '-' => "dash",
                '_' => "underscore",
                '@' => "at",
                ':' if read[n + 1..].starts_with('\\') => "",
                ':' => "colon",
                '\\' => "backslash",
                '*' => "star",
                '?' => "question mark",
                '=' => "equals",
                '&' => "and",
                '#' => "hash",
                '+' => "plus",
                '%' => "percent",
                '~' => "tilde",
                _ => continue,
            };
            add(&mut words, &read[part..n]);
            add(&mut words, name);
            part = n + c.len_utf8();
        }
        add(&mut words, &read[part..]);
        self.say(at..end, words.trim_end());
        self.word = at..end;
        end
    }

    /// A telephone number: its digits one by one, with a pause between its groups.
    pub(super) fn phone(&mut self, at: usize) -> Option<usize> {
        let mut groups: Vec<(usize, usize)> = Vec::new();
        let is_international = self.at(at) == Some('+');
        let mut end = at + usize::from(is_international);
        let mut is_open = false;
        let mut seps = String::new();
        let mut last = at;
        while groups.len() < 8 {
            if self.at(end) == Some('(') && !is_open {
                is_open = true;
                end += 1;
                seps.push('(');
            }
            let digits = self.digits(end);
            if digits == end || digits > end + 8 {
                break;
            }
            groups.push((end, digits));
            last = digits;
            end = digits;
            if self.at(end) == Some(')') && is_open {
                is_open = false;
                end += 1;
                last = end;
                seps.push(')');
            }
            match self.at(end) {
                Some(c @ ('-' | '.' | ' ' | '\u{a0}' | '‑' | '–' | '/'))
                    if !(c == '/' && groups.len() > 1) =>
                {
                    end += c.len_utf8();
                    seps.push(c);
                    if c == '-' && self.at(end) == Some(' ') || c == ' ' && self.at(end) == Some('-') {
                        break;
                    }
                }
                _ if seps.ends_with(')') => {}
                _ => break,
            }
        }
        if is_open {
            return None;
        }
        let is_known = self.is_phone(&groups, is_international, &seps);
        if !is_known || self.is_letter(last) || self.is_digit(last) {
            return None;
        }
        // A decimal point or a colon shows that the last group is no group.
        if matches!(self.at(last), Some('.' | ':' | ',' | '/' | '-')) && self.is_digit(last + 1)
            || matches!(self.at(last), Some('%' | '°'))
        {
            return None;
        }
        let mut words = String::new();
        if is_international {
            words.push_str("plus");
        }
        for (n, (from, to)) in groups.iter().enumerate() {
            if n > 0 {
                words.push(',');
            }
            numbers::digits(&mut words, &self.s[*from..*to]);
        }
        self.say(at..last, &words);
        // "555-0143 x204"
        let mark = self.skip_space(last);
        let extension = self.digits(mark + 1);
        if self.at(mark) == Some('x') && extension > mark + 1 && !self.is_letter(extension) {
            self.say(mark..mark + 1, "extension");
            self.figure_start = mark + 1;
            return Some(mark + 1);
        }
        Some(last)
    }

    fn is_phone(&self, groups: &[(usize, usize)], is_international: bool, seps: &str) -> bool {
        let lengths: Vec<usize> = groups.iter().map(|(from, to)| to - from).collect();
        let total: usize = lengths.iter().sum();
        if is_international {
            return (8..=15).contains(&total)
                && (lengths.len() > 1 || total >= 10)
                && lengths.first() <= Some(&3);
        }
        match lengths.as_slice() {
            [3, 4] => {
                let label = self.word_near(groups[0].0, 2).to_ascii_lowercase();
                seps.starts_with(['-', '‑', '('])
                    || super::abbreviations::lists(
                        "tel telephone phone call fax mobile cell dial ring text",
                        &label,
                    ) && self.s[..groups[0].0].ends_with(' ')
            }
            // "Meeting ID: 845 1234 5678"
            [3, 4, 4] if !self.s[groups[0].0..].starts_with('0') => {
                let label = self.word_near(groups[0].0, 2);
                super::abbreviations::lists("ID Id id code Code PIN Passcode passcode Number number", label)
            }
            // "pages 123–130 (1999)"
            [3, 3, 4] => !(seps.starts_with(['–', '-']) && seps.ends_with(')')),
            [1, 3, 3, 4] => self.s[groups[0].0..].starts_with('1'),
            // Numbers of an area begin with a zero.
            _ => {
                let first = groups.first().map_or("", |(from, to)| &self.s[*from..*to]);
                if first == "00" && seps.starts_with(' ') {
                    return lengths.len() > 2 && (9..=17).contains(&total);
                }
                first.starts_with('0')
                    && lengths.len() > 1
                    && ((3..=6).contains(&lengths[0]) || lengths[0] == 1 && seps.starts_with("()"))
                    && (8..=12).contains(&total)
                    && !seps.contains('.')
            }
        }
    }
}
