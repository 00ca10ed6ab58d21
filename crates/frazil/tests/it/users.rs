//! Users of the Kafka door, with librdkafka as the client.

use frazil::config::Config;
use frazil::remote::Remote;
use frazil::{Node, NodeSettings};
use topics::cluster::Login;

use crate::{Temporary, settings};

const CONFIG: &str = "version: 1
server:
  kafka:
    authentication: sasl
    super.users: User:admin
    users: { admin: first, guest: second }
";

fn remote(node: &Node, login: Option<(&str, &str)>) -> Remote {
    let login = login.map(|(user, password)| Login { user: user.into(), password: password.into() });
    Remote { login, ..Remote::of(node.endpoints()) }
}

/// Whether the topic could be made.
async fn makes(node: &Node, login: Option<(&str, &str)>, topic: &str) -> Result<(), String> {
    let client = remote(node, login).kafka().await.expect("somebody listens");
    let new = topics::NewTopic { name: topic.into(), partitions: Some(1), ..Default::default() };
    client.create_topic(&new, -1, false).await.map_err(|e| e.to_string())
}

#[tokio::test]
async fn users_come_in_with_their_password_and_stay_over_restarts() {
    let place = Temporary::new();
    let file = place.path().join("frazil.yaml");
    std::fs::write(&file, CONFIG).expect("write");
    for round in 0..2 {
        let config = Config::load(&file).expect("a configuration");
        let node = Node::start(NodeSettings { config, ..settings(&place.data()) }).await.expect("starts");
        makes(&node, Some(("admin", "first")), &format!("t{round}")).await.expect("made");
        let refused = makes(&node, Some(("guest", "second")), "u").await.expect_err("no right");
        assert!(refused.contains("authorization"), "{refused}");
        let topics = remote(&node, Some(("guest", "second"))).kafka().await.expect("kafka").topics().await;
        assert!(topics.expect("a list").is_empty(), "a guest sees nothing");
        node.stop().await.expect("stops");
    }
}
