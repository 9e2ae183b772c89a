//! Lists: filtered by name, sorted, cut into pages and columns, all on the server.
//!
//! `name` and `use_regex` only count together with `page`, as in RabbitMQ.
//!
//! An item of a long list is built only if it is answered with: what it is filtered and sorted by is asked of it
//! beforehand ([`Listed::brief`]). Sorting by what only the built object knows, a rate for example, builds all.

use regex::Regex;

use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};

/// Items of a page where the request does not say.
const PAGE_ITEMS: usize = 100;
/// Most items of a page.
const PAGE_ITEMS_MAX: usize = 500;

/// Which page is wanted.
struct Page {
    number: usize,
    items: usize,
}

/// Something that is in a list before it is built.
pub(crate) trait Listed {
    /// A field's value where it is at hand, `Some(None)` where there is no such field; `None` says that only the
    /// built object knows. All items of a list know the same fields, the name among them.
    fn brief(&self, call: &Call<'_>, field: &str) -> Option<Option<Json>>;

    /// The whole of it.
    fn build(self, call: &Call<'_>) -> Object;
}

impl Listed for Object {
    fn brief(&self, _: &Call<'_>, field: &str) -> Option<Option<Json>> {
        Some(self.at(field))
    }

    fn build(self, _: &Call<'_>) -> Object {
        self
    }
}

/// An item of a list on its way.
enum Row<T> {
    Brief(T),
    Built(Object),
}

impl<T: Listed> Row<T> {
    fn brief(&self, call: &Call<'_>, field: &str) -> Option<Option<Json>> {
        match self {
            Row::Brief(item) => item.brief(call, field),
            Row::Built(object) => Some(object.at(field)),
        }
    }

    /// A field that [`know`] was asked for.
    fn known(&self, call: &Call<'_>, field: &str) -> Option<Json> {
        self.brief(call, field).flatten()
    }

    fn build(self, call: &Call<'_>) -> Object {
        match self {
            Row::Brief(item) => {
                call.api.count_built();
                item.build(call)
            }
            Row::Built(object) => object,
        }
    }

    /// The item as it is answered with.
    fn select(self, call: &Call<'_>, columns: Option<&[String]>) -> Object {
        let Some(columns) = columns else {
            return self.build(call);
        };
        let brief = columns
            .iter()
            .map(|column| Some((column.clone(), self.brief(call, column)?)));
        // Of a nested field only the built object knows where it belongs.
        let flat = !columns.iter().any(|column| column.contains('.'));
        match brief.collect::<Option<Vec<_>>>().filter(|_| flat) {
            Some(fields) => {
                fields
                    .into_iter()
                    .fold(Object::new(), |object, field| match (field.0, field.1) {
                        (column, Some(value)) if object.find(&column).is_none() => {
                            object.with(column, value)
                        }
                        _ => object,
                    })
            }
            None => self.build(call).select(columns),
        }
    }
}

/// Builds all rows unless they know a field as they are.
fn know<T: Listed>(call: &Call<'_>, rows: &mut Vec<Row<T>>, field: &str) {
    if rows.iter().any(|row| row.brief(call, field).is_none()) {
        let built = std::mem::take(rows).into_iter();
        rows.extend(built.map(|row| Row::Built(row.build(call))));
    }
}

/// Answers with a list as the query wants it.
pub(crate) fn answer<T: Listed>(call: &Call<'_>, items: Vec<T>) -> Result<Answer, Failure> {
    let page = page(call)?;
    let total = items.len();
    let mut items: Vec<Row<T>> = items.into_iter().map(Row::Brief).collect();
    if page.is_some() {
        filter(call, &mut items);
    }
    sort(call, &mut items);
    let columns = columns(call);
    let select = |items: Vec<Row<T>>| -> Vec<Json> {
        let items = items.into_iter();
        items
            .map(|item| Json::Object(item.select(call, columns.as_deref())))
            .collect()
    };
    let Some(page) = page else {
        return Ok(Answer::json(select(items)));
    };
    let filtered = items.len();
    let pages = filtered.div_ceil(page.items);
    let out_of_range = page.number > pages.max(1);
    if out_of_range {
        return Err(Failure::new(
            400,
            "page_out_of_range",
            format!(
                "Page out of range, page: {} page size: {}, len: {filtered}",
                page.number, page.items
            ),
        ));
    }
    let first = (page.number - 1) * page.items;
    let wanted: Vec<Row<T>> = items.into_iter().skip(first).take(page.items).collect();
    let found = Object::new()
        .with("filtered_count", filtered)
        .with("item_count", wanted.len())
        .with("items", select(wanted))
        .with("page", page.number)
        .with("page_count", pages)
        .with("page_size", page.items)
        .with("total_count", total);
    Ok(Answer::json(found))
}

/// Answers with one object, cut to the columns that are wanted.
pub(crate) fn one(call: &Call<'_>, object: Object) -> Answer {
    match columns(call) {
        Some(columns) => Answer::json(object.select(&columns)),
        None => Answer::json(object),
    }
}

/// The columns that are wanted; `None` is all.
pub(crate) fn columns(call: &Call<'_>) -> Option<Vec<String>> {
    let columns = call.query("columns")?;
    Some(columns.split(',').map(str::to_owned).collect())
}

fn page(call: &Call<'_>) -> Result<Option<Page>, Failure> {
    if call.query("pagination") == Some("false") {
        return Ok(None);
    }
    let Some(number) = call.query("page") else {
        return Ok(None);
    };
    let bad = || Failure::bad_request("Pagination parameters are invalid");
    let number: usize = number.parse().map_err(|_| bad())?;
    let items = call.query("page_size").map(str::parse::<usize>);
    let items = items.transpose().map_err(|_| bad())?;
    let in_range = number > 0 && items.is_none_or(|items| (1..=PAGE_ITEMS_MAX).contains(&items));
    if !in_range {
        let items = items.map_or_else(|| "undefined".to_owned(), |items| items.to_string());
        return Err(Failure::new(
            400,
            "invalid_pagination_parameters",
            format!("Invalid pagination parameters: page number {number}, page size {items}"),
        ));
    }
    Ok(Some(Page {
        number,
        items: items.unwrap_or(PAGE_ITEMS),
    }))
}

/// Keeps what has the wanted text in its name, whatever the case. A pattern that is none matches nothing.
fn filter<T: Listed>(call: &Call<'_>, items: &mut Vec<Row<T>>) {
    let Some(wanted) = call.query("name").filter(|wanted| !wanted.is_empty()) else {
        return;
    };
    let regex = match call.query_flag("use_regex") {
        true => Regex::new(&format!("(?i){wanted}")).ok(),
        false => Regex::new(&format!("(?i){}", regex::escape(wanted))).ok(),
    };
    know(call, items, "name");
    let matches = |item: &Row<T>| {
        let name = item.known(call, "name");
        let name = name.as_ref().and_then(Json::as_str).unwrap_or_default();
        regex.as_ref().is_some_and(|regex| regex.is_match(name))
    };
    items.retain(matches);
}

fn sort<T: Listed>(call: &Call<'_>, items: &mut Vec<Row<T>>) {
    if let Some(path) = call.query("sort").filter(|path| !path.is_empty()) {
        know(call, items, path);
        items.sort_by_cached_key(|item| Key(item.known(call, path)));
    }
    if call.query_flag("sort_reverse") {
        items.reverse();
    }
}

/// Sorts as [`Json::order`] says; what is absent comes first.
#[derive(Debug)]
struct Key(Option<Json>);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => a.order(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}
