package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/baton-ha/baton/config"
	"github.com/baton-ha/baton/node/api"
	"github.com/baton-ha/baton/node/api/wire"
)

// adminAnswerBytes bounds an answer of the admin socket.
const adminAnswerBytes = 1 << 20

// adminFlags name the node whose admin socket a command talks to.
type adminFlags struct {
	config  string
	timeout time.Duration
	asJSON  bool
}

func (f *adminFlags) add(cmd *cobra.Command) {
	addConfig(cmd, &f.config)
	cobra.CheckErr(cmd.MarkFlagRequired("config"))
	cmd.Flags().DurationVar(&f.timeout, "timeout", 40*time.Second, "how long to wait for the answer")
	addJSON(cmd, &f.asJSON)
}

// call makes one request of the node's admin socket and reads its answer into out. in may be nil.
func (f *adminFlags) call(ctx context.Context, method, path string, in, out any) error {
	cfg, err := config.Load(f.config)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	return askAdmin(ctx, cfg, method, path, &body, func(answer io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(answer, adminAnswerBytes))
		if err == nil {
			err = json.Unmarshal(data, out)
		}
		if err != nil {
			return fmt.Errorf("%s: read the answer: %w", cfg.ID, err)
		}
		return nil
	})
}

// askAdmin makes one request of a node's admin socket and has its answer read, if that is a success.
func askAdmin(ctx context.Context, cfg *config.Config, method, path string, body io.Reader, read func(answer io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return err
	}
	client := api.AdminClient(cfg.Paths().DataDir)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.ID, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	if resp.StatusCode != http.StatusOK {
		return refusalOf(cfg.ID, resp)
	}
	return read(resp.Body)
}

// refusalOf is what a node says in an answer that is not a success.
func refusalOf(id string, resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, adminAnswerBytes))
	if err != nil {
		return fmt.Errorf("%s: read the answer: %w", id, err)
	}
	var answer wire.ErrorBody
	if json.Unmarshal(data, &answer) != nil || answer.Error.Message == "" {
		return fmt.Errorf("%s answers %s", id, resp.Status)
	}
	return fmt.Errorf("%s refuses: %s (%s)", id, answer.Error.Message, answer.Error.Code)
}

func newLeaderShowCmd() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "show --config FILE", Short: "Show who leads, as this node knows it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var leader wire.Leader
			if err := admin.call(cmd.Context(), http.MethodGet, "/leader", nil, &leader); err != nil {
				return err
			}
			return admin.printLeader(cmd, leader)
		},
	}
	admin.add(cmd)
	return cmd
}

func newLeaderTransferCmd() *cobra.Command {
	var (
		admin adminFlags
		to    string
	)
	cmd := &cobra.Command{
		Use: "transfer --config FILE [--to ID]", Short: "Hand the leadership over", Args: cobra.NoArgs,
		Long: "transfer makes the leader hand over to another node that holds everything it holds, without an election in\n" +
			"between. The cluster refuses when there is no such node. Without --to the leader chooses.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var leader wire.Leader
			err := admin.call(cmd.Context(), http.MethodPost, "/leader/transfer", wire.TransferRequest{To: to}, &leader)
			if err != nil {
				return err
			}
			return admin.printLeader(cmd, leader)
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "id of the node that is to lead")
	return cmd
}

func (f *adminFlags) printLeader(cmd *cobra.Command, leader wire.Leader) error {
	switch {
	case f.asJSON:
		return printJSON(cmd, leader)
	case leader.Leader == "":
		return printf(cmd, "no leader known, term %d\n", leader.Term)
	default:
		return printf(cmd, "%s leads, term %d\n", leader.Leader, leader.Term)
	}
}

func newMemberListCmd() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use: "list --config FILE", Short: "List the members of the cluster, as this node knows them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var status wire.Status
			if err := admin.call(cmd.Context(), http.MethodGet, "/status", nil, &status); err != nil {
				return err
			}
			if admin.asJSON {
				return printJSON(cmd, wire.MembersOf(status))
			}
			if err := printMembers(cmd, status.Members, status.Leader, status.Term); err != nil {
				return err
			}
			for _, id := range status.Invited {
				if err := printf(cmd, "  %s  invited, has not joined yet\n", id); err != nil {
					return err
				}
			}
			for _, id := range status.Removed {
				if err := printf(cmd, "  %s  removed, may not join\n", id); err != nil {
					return err
				}
			}
			return nil
		},
	}
	admin.add(cmd)
	return cmd
}
