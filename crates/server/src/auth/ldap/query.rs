//! Queries: what a directory is asked to find out whether somebody may do something. RabbitMQ's language, in
//! RabbitMQ's words.
//!
//! ```text
//! {constant, true}                              {'not', Query}
//! {exists, "ou=${vhost},dc=x"}                  {'and', [Query, ..]}   {'or', [Query, ..]}
//! {in_group, "cn=g,dc=x"}                       {for, [{permission, configure, Query}, ..]}
//! {in_group, "cn=g,dc=x", "uniqueMember"}       {equals, Text, Text}
//! {in_group_nested, "cn=g,dc=x", "member", subtree}     {match, Text, Text}
//! ```
//! A text is `"pattern"`, `{string, "pattern"}` or `{attribute, "dn pattern", "attribute"}`. Asking is
//! [`super::directory`]'s.

use super::term::{self, Term};

/// Where a group's parents are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Everywhere below the base.
    Subtree,
    /// Directly below it.
    OneLevel,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    Constant(bool),
    /// Variable, value, and what is asked if it has that value: the first counts.
    For(Vec<(String, String, Query)>),
    Exists(String),
    InGroup {
        dn: String,
        attribute: String,
    },
    InGroupNested {
        dn: String,
        attribute: String,
        depth: Depth,
    },
    Not(Box<Query>),
    And(Vec<Query>),
    Or(Vec<Query>),
    Equals(Box<Query>, Box<Query>),
    Match(Box<Query>, Box<Query>),
    Text(String),
    Attribute {
        dn: String,
        attribute: String,
    },
}

/// A query's text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Query, String> {
    of_term(&term::parse(text)?)
}

/// `[{administrator, Query}, ..]`: tags, and who has them.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_tags(text: &str) -> Result<Vec<(String, Query)>, String> {
    let wrong =
        || "expected a list of tags and queries: [{administrator, {constant, false}}]".to_owned();
    let Term::List(items) = term::parse(text)? else {
        return Err(wrong());
    };
    let tag = |item: &Term| match item {
        Term::Tuple(parts) => match &parts[..] {
            [Term::Atom(tag) | Term::Text(tag), query] => Ok((tag.clone(), of_term(query)?)),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    };
    items.iter().map(tag).collect()
}

fn word(term: &Term) -> Option<String> {
    match term {
        Term::Atom(word) | Term::Text(word) => Some(word.clone()),
        Term::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn of_term(term: &Term) -> Result<Query, String> {
    let Term::Tuple(parts) = term else {
        return match term {
            Term::Text(pattern) => Ok(Query::Text(pattern.clone())),
            _ => Err("expected a query, such as {constant, true}".into()),
        };
    };
    let Some((Term::Atom(name), arguments)) = parts.split_first() else {
        return Err("expected a query, such as {constant, true}".into());
    };
    let wrong = || Err(format!("the query {name} cannot have these arguments"));
    let text = |term: &Term| match term {
        Term::Text(text) => Some(text.clone()),
        _ => None,
    };
    let texts: Option<Vec<String>> = arguments.iter().map(text).collect();
    let texts = texts.unwrap_or_default();
    let one = |query: &Term| of_term(query).map(Box::new);
    Ok(match (name.as_str(), arguments) {
        ("constant", [Term::Atom(word)]) if word == "true" => Query::Constant(true),
        ("constant", [Term::Atom(word)]) if word == "false" => Query::Constant(false),
        ("for", [Term::List(cases)]) => {
            Query::For(cases.iter().map(case).collect::<Result<_, _>>()?)
        }
        ("not", [query]) => Query::Not(one(query)?),
        ("and", [Term::List(queries)]) => Query::And(all(queries)?),
        ("or", [Term::List(queries)]) => Query::Or(all(queries)?),
        ("equals", [a, b]) => Query::Equals(one(a)?, one(b)?),
        ("match", [a, b]) => Query::Match(one(a)?, one(b)?),
        ("in_group_nested", [Term::Text(dn), Term::Text(attribute), Term::Atom(depth)]) => {
            Query::InGroupNested {
                dn: dn.clone(),
                attribute: attribute.clone(),
                depth: match depth.as_str() {
                    "subtree" => Depth::Subtree,
                    "singlelevel" | "single_level" | "onelevel" | "one_level" => Depth::OneLevel,
                    _ => return wrong(),
                },
            }
        }
        (name, _) => return of_texts(name, &texts),
    })
}

/// Queries of texts alone.
fn of_texts(name: &str, texts: &[String]) -> Result<Query, String> {
    Ok(match (name, texts) {
        ("exists", [dn]) => Query::Exists(dn.clone()),
        ("in_group", [dn]) => Query::InGroup {
            dn: dn.clone(),
            attribute: MEMBER.into(),
        },
        ("in_group", [dn, attribute]) => Query::InGroup {
            dn: dn.clone(),
            attribute: attribute.clone(),
        },
        ("in_group_nested", [dn]) => Query::InGroupNested {
            dn: dn.clone(),
            attribute: MEMBER.into(),
            depth: Depth::Subtree,
        },
        ("in_group_nested", [dn, attribute]) => Query::InGroupNested {
            dn: dn.clone(),
            attribute: attribute.clone(),
            depth: Depth::Subtree,
        },
        ("string", [pattern]) => Query::Text(pattern.clone()),
        ("attribute", [dn, attribute]) => Query::Attribute {
            dn: dn.clone(),
            attribute: attribute.clone(),
        },
        (
            "constant" | "for" | "not" | "and" | "or" | "equals" | "match" | "exists" | "in_group"
            | "in_group_nested" | "string" | "attribute",
            _,
        ) => return Err(format!("the query {name} cannot have these arguments")),
        (name, _) => return Err(format!("there is no query {name}")),
    })
}

/// What groups call their members.
const MEMBER: &str = "member";

fn all(queries: &[Term]) -> Result<Vec<Query>, String> {
    queries.iter().map(of_term).collect()
}

fn case(term: &Term) -> Result<(String, String, Query), String> {
    if let Term::Tuple(parts) = term
        && let [variable, value, query] = &parts[..]
        && let (Some(variable), Some(value)) = (word(variable), word(value))
    {
        return Ok((variable, value, of_term(query)?));
    }
    Err("expected cases such as {permission, configure, {constant, true}}".into())
}

/// What a query comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    /// One, or the several values of an attribute.
    Texts(Vec<String>),
    /// It cannot be told. RabbitMQ's word for why.
    Error(String),
}

impl Value {
    pub(super) fn is_true(&self) -> bool {
        *self == Value::Bool(true)
    }
}

/// Whether two texts are the same, or one of them is among the other's.
pub(super) fn equals(a: &Value, b: &Value) -> Value {
    let (Value::Texts(a), Value::Texts(b)) = (a, b) else {
        return Value::Bool(false);
    };
    let among = |one: &[String], many: &[String]| matches!(one, [one] if many.contains(one));
    Value::Bool(a == b || among(a, b) || among(b, a))
}

/// Whether a text fits a regular expression. One of the two may be several: any of them will do.
pub(super) fn fits(texts: &Value, patterns: &Value) -> Value {
    let (Value::Texts(texts), Value::Texts(patterns)) = (texts, patterns) else {
        return Value::Bool(false);
    };
    if 1 < texts.len() && 1 < patterns.len() {
        return Value::Bool(false);
    }
    let fits = |pattern: &String| {
        let parsed = metadata::identity::Pattern::parse(pattern);
        parsed.is_ok_and(|parsed| texts.iter().any(|text| parsed.matches(text)))
    };
    Value::Bool(patterns.iter().any(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let member = || "member".to_owned();
        for (text, expected) in [
            ("{constant, true}.", Query::Constant(true)),
            ("{exists, \"d\"}", Query::Exists("d".into())),
            (
                "{in_group, \"d\"}",
                Query::InGroup {
                    dn: "d".into(),
                    attribute: member(),
                },
            ),
            (
                "{in_group_nested, \"d\", \"m\", onelevel}",
                Query::InGroupNested {
                    dn: "d".into(),
                    attribute: "m".into(),
                    depth: Depth::OneLevel,
                },
            ),
            (
                "{'not', {'or', [{match, \"a\", {attribute, \"d\", \"x\"}}, {equals, {string, \"a\"}, \"b\"}]}}",
                Query::Not(Box::new(Query::Or(vec![
                    Query::Match(
                        Box::new(Query::Text("a".into())),
                        Box::new(Query::Attribute {
                            dn: "d".into(),
                            attribute: "x".into(),
                        }),
                    ),
                    Query::Equals(
                        Box::new(Query::Text("a".into())),
                        Box::new(Query::Text("b".into())),
                    ),
                ]))),
            ),
            (
                "{for, [{permission, configure, {constant, false}}, {name, \"q\", {'and', []}}]}",
                Query::For(vec![
                    (
                        "permission".into(),
                        "configure".into(),
                        Query::Constant(false),
                    ),
                    ("name".into(), "q".into(), Query::And(vec![])),
                ]),
            ),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        let tags =
            parse_tags("[{administrator, {constant, false}}, {management, {constant, true}}]");
        let tags = tags.expect("they are right");
        assert_eq!(tags[1], ("management".into(), Query::Constant(true)));
    }

    #[test]
    fn what_is_no_query_is_told() {
        for (text, expected) in [
            ("true", "expected a query, such as {constant, true}"),
            ("{}", "expected a query, such as {constant, true}"),
            (
                "{constant, maybe}",
                "the query constant cannot have these arguments",
            ),
            ("{exist, \"a\"}", "there is no query exist"),
            (
                "{exists, a}",
                "the query exists cannot have these arguments",
            ),
            (
                "{in_group_nested, \"a\", \"b\", far}",
                "the query in_group_nested cannot have these arguments",
            ),
            (
                "{'and', {constant, true}}",
                "the query and cannot have these arguments",
            ),
            (
                "{for, [{a, b}]}",
                "expected cases such as {permission, configure, {constant, true}}",
            ),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
        let wrong = "expected a list of tags and queries: [{administrator, {constant, false}}]";
        for text in ["{constant, true}", "[administrator]", "[{a}]"] {
            assert_eq!(parse_tags(text), Err(wrong.to_owned()), "{text}");
        }
    }

    #[test]
    fn texts_are_compared_as_rabbitmq_compares_them() {
        let texts = |texts: &[&str]| Value::Texts(texts.iter().map(|t| (*t).to_owned()).collect());
        let error = Value::Error("x".into());
        for (a, b, same, fit) in [
            (texts(&["a"]), texts(&["a"]), true, true),
            (texts(&["ab"]), texts(&["^a"]), false, true),
            (texts(&["a"]), texts(&["b", "a"]), true, true),
            (texts(&["b", "a"]), texts(&["^a$"]), false, true),
            (texts(&["a", "b"]), texts(&["a", "b"]), true, false),
            (texts(&["a", "b"]), texts(&["b", "a"]), false, false),
            (texts(&["a"]), texts(&["("]), false, false),
            (texts(&["a"]), texts(&[]), false, false),
            (error.clone(), texts(&["a"]), false, false),
            (texts(&["a"]), error, false, false),
        ] {
            assert_eq!(equals(&a, &b), Value::Bool(same), "{a:?} {b:?}");
            assert_eq!(fits(&a, &b), Value::Bool(fit), "{a:?} {b:?}");
        }
    }
}
