//! Query → topic.
