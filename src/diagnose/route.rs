//! The way back to the source, which IPv4 asks for before it lets a datagram in (rp_filter).

use super::facts::{Facts, Way};
use super::findings::{Code, Finding, Severity};
use super::host::{Link, setting_name};

/// rp_filter 1 wants the route to the source to leave by the interface that it came in by, 2 wants
/// any route; the larger of the interface's setting and of "all" counts.
pub fn no_route_back(facts: &Facts) -> Option<Finding> {
    let link = facts.link.as_ref().filter(|_| facts.question.group.is_ipv4())?;
    let (filter, whose) = facts.rp_filter.map(|pair| pair.larger(&link.name)).filter(|(value, _)| *value > 0)?;
    let setting = format!("{} is {filter}", setting_name("ipv4", whose, "rp_filter"));
    let Some((source, way)) = facts.way_back else {
        return without_source(facts, link, &setting);
    };
    let why = match way {
        Way::Unknown(error) => {
            let cause = format!("{setting}, and the route back to {source} can't be asked for ({error:?})");
            return Some(Finding::new(Code::NoRouteBack, facts, cause).but(Severity::Unchecked));
        }
        Way::None => format!("there is no route back to {source}"),
        // What this host sends itself comes back to it unfiltered.
        Way::By(route) if route.is_local || route.interface == link.index || filter == 2 => return None,
        Way::By(route) => {
            format!("the route back to {source} leaves by {}, not by {link}", facts.called(route.interface))
        }
    };
    Some(Finding::new(Code::NoRouteBack, facts, format!("{setting}, and {why}")))
}

/// The host counts what it dropped so, without saying whose it was; most hosts have dropped something.
fn without_source(facts: &Facts, link: &Link, setting: &str) -> Option<Finding> {
    let drops = facts.reverse_path_drops;
    let cause = || {
        format!(
            "{setting}, and this host has dropped {drops} packets for it (IPReversePathFilter); name the source to see \
             whether its route leaves by {link}"
        )
    };
    (drops > 0).then(|| Finding::new(Code::NoRouteBack, facts, cause()).but(Severity::Unchecked))
}
