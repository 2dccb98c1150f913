//! What becomes of the order of records when a route keeps it by something else from now on.

use crate::facts::{Facts, RouteFacts};
use crate::store::Unsettled;

/// Which routes keep their order by other lanes than before while deliveries of theirs stand in those: what comes now does
/// not wait for these. A route that keeps no order, before or now, has none to lose.
pub(super) fn abandoned(before: &Facts, after: &Facts, unsettled: &[Unsettled]) -> Vec<String> {
    let told = |route: &RouteFacts| {
        let name = &route.summary.route;
        let known = before.routes.iter().find(|known| known.summary.route == *name)?;
        let (was, is) = (known.summary.lane.as_str(), route.summary.lane.as_str());
        let standing = unsettled.iter().filter(|found| found.way.route == *name);
        let count: u64 = standing.map(|found| found.count).sum();
        (was != is && was != "none" && is != "none" && count > 0).then(|| {
            format!(
                "route {name} keeps its order by {is} from now on, and by {was} until now: {count} of its deliveries that are not \
                 settled stay in the lanes of before, and what comes now of their records does not wait for them; where the \
                 order counts, let those go out first, with the route's sources or its system at rest"
            )
        })
    };
    after.routes.iter().filter_map(told).collect()
}
