//! Events in: the intake pipeline from decoded events to durable notifications.
