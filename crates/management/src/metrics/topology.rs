//! What `/metrics/detailed` tells of the topology: vhosts, exchanges and how many bindings they have.
//!
//! Their names begin with `cluster`, and only a request that names the family gets them.

use super::Wanted;
use super::page::{Kind, Page, labels};
use crate::api::Api;

/// Writes the families that are asked for.
pub(super) fn write(api: &Api, wanted: &Wanted, page: &mut Page) {
    if wanted.families.is_none() {
        return;
    }
    page.rename("rabbitmq_cluster_");
    if wanted.family("vhost_status") {
        let help = "Whether a given vhost is running";
        page.begin("vhost_status", Kind::Gauge, help);
        // As in RabbitMQ, the query's vhosts do not count here.
        for vhost in api.node.vhosts() {
            page.sample("vhost_status", &labels(&[("vhost", &vhost.name)]), 1.0);
        }
    }
    for (family, name, help) in [
        (
            "exchange_bindings",
            "exchange_bindings",
            "Number of bindings for an exchange. This value is cluster-wide.",
        ),
        (
            "exchange_names",
            "exchange_name",
            "Enumerates exchanges without any additional info. This value is cluster-wide. A cheaper alternative to \
             `exchange_bindings`",
        ),
    ] {
        if !wanted.family(family) {
            continue;
        }
        page.begin(name, Kind::Gauge, help);
        for (labels, bindings) in exchanges(api, wanted) {
            let counts = family == "exchange_bindings";
            page.sample(name, &labels, if counts { bindings as f64 } else { 1.0 });
        }
    }
    page.rename("rabbitmq_detailed_");
}

/// The labels of each exchange that has a name, and how many bindings it is the source of.
fn exchanges(api: &Api, wanted: &Wanted) -> Vec<(String, usize)> {
    let vhosts = api.node.vhosts().into_iter();
    let vhosts = vhosts.filter(|vhost| wanted.vhost(&vhost.name));
    let rows = vhosts.flat_map(|vhost| {
        vhost.read(|topology| {
            let router = &topology.router;
            let named = router.exchanges().into_iter();
            let named = named.filter(|spec| !spec.name.is_empty());
            let row = |spec: &metadata::topology::ExchangeSpec| {
                let labels = labels(&[
                    ("vhost", &vhost.name),
                    ("exchange", &spec.name),
                    ("type", &spec.kind),
                ]);
                (labels, router.bindings_of_source(&spec.name).len())
            };
            named.map(row).collect::<Vec<_>>()
        })
    });
    rows.collect()
}
