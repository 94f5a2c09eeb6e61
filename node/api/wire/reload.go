package wire

// ReloadRequest is the body of POST /reload on the admin socket.
type ReloadRequest struct {
	// GossipKeys are the gossip keys as whoever asks reads them, in hex, the first the one to encrypt with: a service may
	// have copies of its keys that are as old as its start. Nil: as the node itself reads them.
	GossipKeys []string `json:"gossip_keys,omitempty"`
}

// Reloaded is the answer: full keys of the configuration, such as log.level.
type Reloaded struct {
	// Changed are the keys that were different and hold from now on.
	Changed []string `json:"changed"`
	// Restart are the keys that are different and count from the next start on.
	Restart []string `json:"restart"`
}
