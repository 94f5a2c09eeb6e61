// Package config turns files and environment variables into checked values, and writes the first set of those files.
//
// # What it reads
//
//   - config.json, one a node: [Load] reads it with viper, overrides it from the environment and validates it.
//   - genesis.json, one a chain: [LoadGenesis] reads it as node/chain defines it.
//   - key files, one Ed25519 key each: [LoadKey] and [WriteKey]; and the gossip keys, [Config.GossipKeys].
//
// [Open] does all of that for one node and checks the files against each other; `baton run` and
// `baton config check` both go through it, so the one accepts exactly what the other accepts.
//
// # How strict it is
//
// A cluster whose nodes disagree about their configuration fails at the worst moment, so nothing is guessed. Before
// anything is decoded, a walk over the JSON tokens refuses unknown keys, keys that stand twice (encoding/json and viper
// both take the last one silently), values of the wrong kind, null, and text after the end. Keys are compared by case.
// Every complaint names the full key, such as raftify.bind_port. Durations are strings ("150ms"): a bare number is
// refused, since viper would read 150 as 150 nanoseconds. Files are bounded in size and depth.
//
// [Config.Validate] is pure: it touches no file and joins ALL problems, each a [FieldError] with the field, its value
// and what would have been right.
//
// # Environment
//
// Every key can be overridden by BATON_ followed by its path in capitals, joined by underscores: BATON_ID,
// BATON_API_LISTEN, BATON_RAFTIFY_BIND_PORT. Lists of texts are separated by commas; peer.peers is given as JSON. A
// variable that is set but empty counts as not set. Other variables that start with BATON_ are not looked at:
// container platforms make such names up on their own.
//
// # Paths
//
// A relative path inside config.json is relative to the folder of config.json, wherever the process was started, and
// also when it came from the environment. state_dir is that folder itself unless it is set. [Config.Resolve] and
// [Config.Paths] do this.
//
// # Secrets
//
// Private keys are in files of mode 0600 that [WriteKey] creates and never overwrites; a key file that its group or
// others may read is refused at loading. Each of them may be an age file that a passphrase opens ([EncryptSecret]); where
// that is says keys.passphrase ([Passphrase]), never an argument of a program. Nothing in this package logs.
package config
