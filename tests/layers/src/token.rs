//! Rust's text as token trees, as far as paths need it: names, `::`, groups in brackets, and where they
//! stand. Comments, and with them the documentation, are left out; literals are there, without content.

use std::fmt;

/// A token, or a group of them in brackets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tree<'a> {
    /// An identifier or a keyword, and its line.
    Name(&'a str, usize),
    /// `::`
    Sep,
    /// `(…)`, `[…]` or `{…}`, by the bracket that opens it.
    Group(char, Vec<Self>),
    /// Any other character.
    Mark(char),
    /// A string, a character, a number or a lifetime.
    Literal,
}

/// Brackets that do not match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced {
    line: usize,
}

impl fmt::Display for Unbalanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the brackets do not match in line {}", self.line)
    }
}

/// Reads a whole file.
pub(crate) fn trees(text: &str) -> Result<Vec<Tree<'_>>, Unbalanced> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
    };
    // The groups that are still open, innermost last, and what stands before each of them.
    let mut open: Vec<(char, Vec<Tree<'_>>)> = Vec::new();
    let mut trees = Vec::new();
    loop {
        let token = lexer.next();
        let line = lexer.line;
        match token {
            None if open.is_empty() => return Ok(trees),
            None => return Err(Unbalanced { line }),
            Some(Tree::Mark(bracket @ ('(' | '[' | '{'))) => {
                open.push((bracket, std::mem::take(&mut trees)));
            }
            Some(Tree::Mark(bracket @ (')' | ']' | '}'))) => match open.pop() {
                Some((opening, before)) if closing(opening) == bracket => {
                    let inside = std::mem::replace(&mut trees, before);
                    trees.push(Tree::Group(opening, inside));
                }
                _ => return Err(Unbalanced { line }),
            },
            Some(token) => trees.push(token),
        }
    }
}

fn closing(opening: char) -> char {
    match opening {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    /// The next token; brackets come as marks.
    fn next(&mut self) -> Option<Tree<'a>> {
        self.skip_blanks();
        let first = self.rest.chars().next()?;
        if first == '"' {
            self.skip_string();
            return Some(Tree::Literal);
        }
        if first == '\'' {
            self.skip_quote();
            return Some(Tree::Literal);
        }
        if first.is_ascii_digit() {
            self.skip_number();
            return Some(Tree::Literal);
        }
        if is_name(first) {
            return Some(self.name());
        }
        if self.rest.starts_with("::") {
            self.skip(2);
            return Some(Tree::Sep);
        }
        self.skip(first.len_utf8());
        Some(Tree::Mark(first))
    }

    /// Moves on, and counts the lines.
    fn skip(&mut self, len: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at(len);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
        skipped
    }

    fn skip_blanks(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.skip(blank);
            if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.skip_block_comment();
            } else {
                return;
            }
        }
    }

    /// One that may hold others.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else {
                match self.rest.chars().next() {
                    Some(char) => self.skip(char.len_utf8()),
                    None => return,
                };
            }
        }
    }

    /// A name, or a literal that begins like one: `b"…"`, `r#"…"#`, `c"…"`, `b'…'`.
    fn name(&mut self) -> Tree<'a> {
        let line = self.line;
        let len = self.rest.find(|char| !is_name(char));
        let name = self.skip(len.unwrap_or(self.rest.len()));
        let hashes = self.rest.len() - self.rest.trim_start_matches('#').len();
        match (name, self.rest[hashes..].chars().next()) {
            ("b" | "c", Some('"')) if hashes == 0 => self.skip_string(),
            ("b", Some('\'')) if hashes == 0 => self.skip_quote(),
            ("r" | "br" | "cr", Some('"')) => {
                let end = format!("\"{}", "#".repeat(hashes));
                self.skip(hashes + 1);
                let len = self.rest.find(&end).map(|at| at + end.len());
                self.skip(len.unwrap_or(self.rest.len()));
            }
            ("r", Some(first)) if hashes == 1 && is_name(first) => {
                self.skip(1);
                return self.name();
            }
            _ => return Tree::Name(name, line),
        }
        Tree::Literal
    }

    /// A string in which `\` escapes.
    fn skip_string(&mut self) {
        self.skip_escaped('"');
    }

    /// A character or a lifetime.
    fn skip_quote(&mut self) {
        let mut chars = self.rest.chars().skip(1);
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') || second == Some('\'') {
            self.skip_escaped('\'');
        } else {
            self.skip(1);
            let len = self.rest.find(|char| !is_name(char));
            self.skip(len.unwrap_or(self.rest.len()));
        }
    }

    /// From one delimiter to the next that is not escaped.
    fn skip_escaped(&mut self, delimiter: char) {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, char)| {
            let ends = *char == delimiter && !escaped;
            escaped = *char == '\\' && !escaped;
            ends
        });
        self.skip(end.map_or(self.rest.len(), |(at, _)| at + delimiter.len_utf8()));
    }

    /// A number, its suffix included; not the dots of a range, and not a method that is called on it.
    fn skip_number(&mut self) {
        loop {
            let len = self.rest.find(|char| !is_name(char));
            self.skip(len.unwrap_or(self.rest.len()));
            let mut chars = self.rest.chars();
            match (chars.next(), chars.next()) {
                (Some('.'), Some(digit)) if digit.is_ascii_digit() => self.skip(1),
                _ => return,
            };
        }
    }
}

/// Whether a name can hold this character, apart from the first, which is no digit.
fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of a text, whatever group they stand in, with their lines.
    fn names(text: &str) -> Vec<(String, usize)> {
        fn collect(trees: &[Tree<'_>], names: &mut Vec<(String, usize)>) {
            for tree in trees {
                match tree {
                    Tree::Name(name, line) => names.push(((*name).to_owned(), *line)),
                    Tree::Group(_, inside) => collect(inside, names),
                    Tree::Sep | Tree::Mark(_) | Tree::Literal => {}
                }
            }
        }
        let mut found = Vec::new();
        collect(&trees(text).unwrap(), &mut found);
        found
    }

    fn words(text: &str) -> Vec<String> {
        names(text).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn comments_are_left_out() {
        assert_eq!(words("a // b\n//! c\n/// d\nf"), ["a", "f"]);
        assert_eq!(words("a /* b /* c */ d */ e"), ["a", "e"]);
    }

    #[test]
    fn literals_hide_what_is_in_them() {
        assert_eq!(words(r##"a "b \" c" d"##), ["a", "d"]);
        assert_eq!(words(r###"a r#"b " c"# d br"e\" f"###), ["a", "d", "f"]);
        assert_eq!(words(r#"a b'"' c '"' d '\'' e"#), ["a", "c", "d", "e"]);
        assert_eq!(words("a '\u{2028}' b"), ["a", "b"]);
    }

    #[test]
    fn a_lifetime_is_no_character() {
        assert_eq!(words("fn a<'b>(c: &'b str)"), ["fn", "a", "c", "str"]);
    }

    #[test]
    fn a_number_ends_before_a_range_and_before_a_method() {
        assert_eq!(
            words("0..max 1.0e5 0xffu8.into() 1_000.max(a)"),
            ["max", "into", "max", "a"]
        );
    }

    #[test]
    fn a_raw_name_is_that_name() {
        assert_eq!(words("r#type::r#mod"), ["type", "mod"]);
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let text = "a\n\"\n\"\n/*\n*/ b";
        assert_eq!(names(text), [("a".to_owned(), 1), ("b".to_owned(), 5)]);
    }

    #[test]
    fn brackets_that_do_not_match_are_told() {
        assert_eq!(trees("a {\n(}"), Err(Unbalanced { line: 2 }));
        assert_eq!(trees("{\n"), Err(Unbalanced { line: 2 }));
        assert_eq!(trees("}"), Err(Unbalanced { line: 1 }));
    }
}
