//! Lists: filtered by name, sorted, cut into pages and columns, all on the server.
//!
//! `name` and `use_regex` only count together with `page`, as in RabbitMQ.

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

/// Answers with a list as the query wants it.
pub(crate) fn answer(call: &Call<'_>, items: Vec<Object>) -> Result<Answer, Failure> {
    let page = page(call)?;
    let total = items.len();
    let mut items: Vec<Json> = items.into_iter().map(Json::Object).collect();
    if page.is_some() {
        filter(call, &mut items);
    }
    sort(call, &mut items);
    let columns = columns(call);
    let Some(page) = page else {
        return Ok(Answer::json(select(items, &columns)));
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
    let wanted: Vec<Json> = items.into_iter().skip(first).take(page.items).collect();
    let found = Object::new()
        .with("filtered_count", filtered)
        .with("item_count", wanted.len())
        .with("items", select(wanted, &columns))
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

fn select(items: Vec<Json>, columns: &Option<Vec<String>>) -> Vec<Json> {
    match columns {
        Some(columns) => items.into_iter().map(|item| item.select(columns)).collect(),
        None => items,
    }
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
fn filter(call: &Call<'_>, items: &mut Vec<Json>) {
    let Some(wanted) = call.query("name").filter(|wanted| !wanted.is_empty()) else {
        return;
    };
    let regex = match call.query_flag("use_regex") {
        true => Regex::new(&format!("(?i){wanted}")).ok(),
        false => Regex::new(&format!("(?i){}", regex::escape(wanted))).ok(),
    };
    let matches = |item: &Json| {
        let name = item.at("name");
        let name = name.as_ref().and_then(Json::as_str).unwrap_or_default();
        regex.as_ref().is_some_and(|regex| regex.is_match(name))
    };
    items.retain(matches);
}

fn sort(call: &Call<'_>, items: &mut [Json]) {
    if let Some(path) = call.query("sort").filter(|path| !path.is_empty()) {
        items.sort_by_cached_key(|item| Key(item.at(path)));
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
