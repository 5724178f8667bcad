//! A fair share of the vendors' slots, whatever node the work is at.

use super::Cluster;
use crate::fairness::{few_slots, one_goes_soon, queue_many};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_at_three_workers_do_not_delay_anothers_one() {
    let mut cluster = Cluster::start(few_slots(), 2, 3).await;
    // The second door is another user's.
    let door = &mut cluster.nodes[1];
    door.kill();
    door.launch.user = Some("other@localhost".to_owned());
    door.launch.token = "gv_other00000000000000000000000000000000000000test".to_owned();
    door.rise().await;
    queue_many(&cluster.client(0)).await;
    one_goes_soon(&cluster.world, &cluster.client(1)).await;
}
