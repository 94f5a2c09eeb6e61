package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/blockstore"
	"github.com/baton-ha/baton/blockstore/block"
	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node"
	"github.com/baton-ha/baton/node/archive"
	"github.com/baton-ha/baton/node/chain"
	"github.com/baton-ha/baton/node/peer"
	fastsync "github.com/baton-ha/baton/node/sync"
)

func newSyncCmd() *cobra.Command {
	var (
		file   string
		from   []string
		mode   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "sync --config FILE [--from URL...]", Args: cobra.NoArgs,
		Short: "Fill a data folder from other nodes, and end",
		Long: "sync fetches the newest state, or what sync.mode says, from the peers of the config, its sync.sources and the URLs that\n" +
			"--from names, and then the blocks since. Everything is verified: the processor's signatures, each piece of state, and\n" +
			"sync.pin. The folder is empty, or was filled by an earlier sync or import; only what differs is fetched. Interrupted, it\n" +
			"goes on when it is run again. `baton run` then starts from the folder as a newcomer's.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := config.Open(file)
			if err != nil {
				return err
			}
			if mode != "" {
				files.Config.Sync.Mode = mode
			}
			for _, url := range from {
				if err := config.CheckSource(url); err != nil {
					return fmt.Errorf("--from %s: want %w", url, err)
				}
			}
			show := newMeter(cmd, asJSON, cmd.OutOrStdout() == os.Stdout && isatty.IsTerminal(os.Stdout.Fd()))
			return fill(cmd.Context(), files, from, show)
		},
	}
	addConfig(cmd, &file)
	cobra.CheckErr(cmd.MarkFlagRequired("config"))
	cmd.Flags().StringArrayVar(&from, "from", nil, "URL of a node's sync.listen to fetch from as well; may be given several times")
	cmd.Flags().StringVar(&mode, "mode", "", "state, block, archive or from:HEIGHT (default: the config's sync.mode)")
	addJSON(cmd, &asJSON)
	return cmd
}

// filler fills a folder.
type filler struct {
	client *fastsync.Client
	store  *blockstore.Store
	im     *archive.Importer
	show   *meter
}

func fill(ctx context.Context, files *config.Node, from []string, show *meter) (err error) {
	sync, err := files.Config.Sync.Node()
	if err != nil {
		return err
	}
	executor, err := chain.New(files.Genesis, chain.Ledger{})
	if err != nil {
		return err
	}
	dir := files.Config.Paths().DataDir
	store, err := blockstore.Open(blockstore.Options{
		Dir: dir, Logger: zerolog.Nop(), CacheBytes: int64(files.Config.Limits.StoreCacheBytes),
	})
	if errors.Is(err, blockstore.ErrInUse) {
		return fmt.Errorf("data_dir %s: %w: a node that runs catches up by itself", dir, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := archive.Reopen(store); err != nil {
		return err
	}
	im, err := archive.NewImporter(ctx, store, executor, importLimits(files.Config))
	if errors.Is(err, archive.ErrNotEmpty) {
		return fmt.Errorf("data_dir %s: a node has run in it: start it, it catches up by itself, or empty the folder", dir)
	}
	if err != nil {
		return err
	}
	peers, closePeers, err := syncPeers(files, append(from, sync.Sources...))
	if err != nil {
		return err
	}
	defer closePeers()
	zero, err := store.HashAt(0)
	if err != nil {
		return err
	}
	f := filler{store: store, im: im, show: show, client: fastsync.NewClient(fastsync.ClientConfig{
		ChainID: files.Genesis.ChainID, Genesis: zero, Key: files.Genesis.Processor.PublicKey[:],
		Pin: fastsync.Pin(sync.Pin), Peers: func() []fastsync.Peer { return peers }, Logger: show.logger(files.Config.Log),
	})}
	if err := f.run(ctx, sync); err != nil {
		show.end()
		if im.Height() > 0 {
			return fmt.Errorf("%w; %s has blocks up to %d: run it again to go on", err, dir, im.Height())
		}
		return err
	}
	return nil
}

// run brings the folder to where the others are.
func (f *filler) run(ctx context.Context, sync node.Sync) error {
	tip, err := f.start(ctx, sync)
	if err != nil {
		return err
	}
	for h := f.im.Height(); h < tip; h = f.im.Height() {
		if err := f.follow(ctx, tip); err != nil {
			return errors.Join(err, f.im.Flush(context.WithoutCancel(ctx)))
		}
		// Meanwhile there may be more.
		if now, err := f.client.Tip(ctx); err == nil {
			tip = max(tip, now)
		}
	}
	if sync.Pin.Height > 0 {
		if err := f.pinned(sync.Pin); err != nil {
			return err
		}
	}
	sum, err := f.im.Finish(false)
	if err != nil {
		return err
	}
	return f.show.done(f.im.Height(), &sum)
}

// start takes over a state, if that is wanted and worth it, and returns how far the others are.
func (f *filler) start(ctx context.Context, sync node.Sync) (block.Height, error) {
	tip, err := f.client.Tip(ctx)
	if err != nil {
		return 0, err
	}
	var o fastsync.Offer
	switch {
	case sync.Mode == node.SyncState:
		o, err = f.client.Newest(ctx)
	case sync.Mode == node.SyncFrom && f.im.Height() == 0:
		o, err = f.client.At(ctx, sync.From)
	default:
		return tip, nil
	}
	if errors.Is(err, fastsync.ErrNoPeer) {
		return tip, nil // of a short chain no state is stored, and its blocks are all there
	}
	if err != nil {
		return 0, err
	}
	if o.Final.Block.Header.Height <= f.im.Height() {
		return tip, nil
	}
	stop := f.show.transfer(f.client)
	t, jump, err := f.client.Transfer(ctx, f.store, o)
	stop()
	if err != nil {
		return 0, err
	}
	defer t.Close()
	return tip, f.im.Jump(jump)
}

// follow executes blocks.
func (f *filler) follow(ctx context.Context, tip block.Height) error {
	for b, err := range f.client.Blocks(ctx, f.im.Height()+1, tip) {
		if err != nil {
			return err
		}
		if err := f.im.Add(ctx, b); err != nil {
			return err
		}
		f.show.block(b.Block.Header.Height, tip)
	}
	return nil
}

// pinned checks a pin that the folder itself holds a block at.
func (f *filler) pinned(pin node.Pin) error {
	h := pin.Height
	if h < f.store.Base() || h > f.im.Height() {
		return nil
	}
	if err := f.im.Flush(context.Background()); err != nil {
		return err
	}
	have, err := f.store.HashAt(h)
	if err == nil && have != pin.Hash {
		err = fmt.Errorf("%w: block %d is %v", fastsync.ErrPinned, h, have)
	}
	return err
}

// deaf is what a link that only asks does with what it is told.
type deaf struct{}

func (deaf) HandleMessage(string, byte, []byte) {}

func (deaf) HandleRequest(context.Context, string, byte, []byte) ([]byte, error) {
	return nil, errors.New("this is no node")
}

func (deaf) PeerUp(string)   {}
func (deaf) PeerDown(string) {}

// syncPeers are the members of the config, over their peer ports, and the URLs.
func syncPeers(files *config.Node, urls []string) (peers []fastsync.Peer, end func(), err error) {
	cfg, err := nodeConfig(files, zerolog.Nop())
	if err != nil {
		return nil, nil, err
	}
	cfg.Peer.Listen = "127.0.0.1:0" // it dials, and nobody comes
	link, err := peer.New(cfg.Peer, deaf{}, zerolog.Nop())
	if err != nil {
		return nil, nil, fmt.Errorf("peer link: %w", err)
	}
	var clients []*http.Client
	for _, p := range cfg.Peer.Peers {
		if p.ID == cfg.ID {
			continue
		}
		client := fastsync.LinkClient(func(ctx context.Context) (net.Conn, error) { return link.Dial(ctx, p.ID, fastsync.ALPN) })
		clients = append(clients, client)
		peers = append(peers, fastsync.Peer{Name: p.ID, URL: "https://" + p.ID, Client: client, Member: true})
	}
	for _, url := range urls {
		peers = append(peers, fastsync.Peer{Name: url, URL: url})
	}
	return peers, func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
		_ = link.Close()
	}, nil
}

const (
	meterEvery = 200 * time.Millisecond
	linesEvery = 5 * time.Second
)
