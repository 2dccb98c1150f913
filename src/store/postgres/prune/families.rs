//! Takes notifications away, each with all its revisions.

use std::collections::{BTreeMap, BTreeSet};

use super::super::failure::Failure;
use super::super::searched;
use super::super::session::{args, read};
use super::{Step, as_count};
use crate::store::accounts;
use crate::store::pruning::{self, REVISIONS_MAX, Revision};

impl Step<'_> {
    /// Takes notifications away, all their revisions, where they may go. Always finished with them: what must stay is looked
    /// at again by its own walk. Nobody else may be at work on them.
    pub(super) async fn take_notifications(&mut self, rows: &[i64]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let families = self.families(rows).await?;
        let prune = self.prune;
        let going: Vec<&Vec<Revision>> =
            families.values().filter(|family| pruning::may_go(family, &prune.retention, prune.now)).collect();
        let revisions: Vec<&Revision> = going.into_iter().flatten().collect();
        if revisions.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = revisions.iter().map(|revision| revision.row).collect();
        let sql = "DELETE FROM newest_delivery WHERE notification = ANY($1)";
        self.work.session.query(sql, args![INT8_ARRAY numbers]).await?;
        self.work.session.query("DELETE FROM notification WHERE id = ANY($1)", args![INT8_ARRAY numbers]).await?;
        searched::forget(&mut self.work.session, &numbers).await?;
        for revision in revisions.iter().filter(|revision| !revision.is_edited) {
            let Revision { source, kind, duplicates, .. } = revision;
            self.work.accounts.post(accounts::pruned_revision(*source, kind, *duplicates));
        }
        self.pruned.notifications += as_count(revisions.len());
        self.spend(revisions.len());
        let envelopes: BTreeSet<i64> = revisions.iter().map(|revision| revision.envelope).collect();
        let envelopes: Vec<i64> = envelopes.into_iter().collect();
        let sql = "DELETE FROM envelope e WHERE e.id = ANY($1)
                   AND NOT EXISTS (SELECT 1 FROM notification n WHERE n.envelope = e.id) RETURNING e.id";
        self.pruned.envelopes += as_count(self.work.session.query(sql, args![INT8_ARRAY envelopes]).await?.len());
        Ok(())
    }

    /// All revisions of each notification, the first one last.
    async fn families(&mut self, rows: &[i64]) -> Result<BTreeMap<(i64, String), Vec<Revision>>, Failure> {
        let sql = "SELECT this.organization, this.notification_id, n.id, n.revision, n.envelope, n.source, n.kind,
                       n.duplicates, e.received_at, n.edited_from IS NOT NULL,
                       EXISTS (SELECT 1 FROM delivery d WHERE d.notification = n.id)
                   FROM (SELECT DISTINCT organization, notification_id FROM notification WHERE id = ANY($1)) this
                   CROSS JOIN LATERAL (SELECT * FROM notification m WHERE m.notification_id = this.notification_id
                       AND m.organization = this.organization ORDER BY m.revision DESC LIMIT $2) n
                   LEFT JOIN envelope e ON e.id = n.envelope ORDER BY 1, 2, n.revision DESC";
        let found = self.work.session.query(sql, args![INT8_ARRAY rows, INT8 REVISIONS_MAX]).await?;
        let found = read(&found, |cells| {
            let key = (cells.number()?, cells.next::<String>()?);
            let revision = Revision {
                row: cells.number()?,
                revision: cells.number()?,
                envelope: cells.number()?,
                source: cells.number()?,
                kind: cells.text()?,
                duplicates: cells.number()?,
                received_at: cells.next()?,
                is_edited: cells.next()?,
                is_used: cells.next()?,
            };
            Ok((key, revision))
        })?;
        let mut families: BTreeMap<(i64, String), Vec<Revision>> = BTreeMap::new();
        for (key, revision) in found {
            families.entry(key).or_default().push(revision);
        }
        Ok(families)
    }
}
