package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Data returns the node's data folder: a disk of its own, of a limited size, in memory. It is mounted inside the sandbox
// only and goes with it.
func (n *Node) Data() string { return filepath.Join(n.disk, "data") }

// mount gives the node its disk and has its configuration point there.
func (n *Node) mount(sizeBytes int64) error {
	n.disk, n.size = filepath.Join(n.Dir, "disk"), sizeBytes
	if err := os.MkdirAll(n.disk, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", n.disk, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", sizeBytes)); err != nil {
		return fmt.Errorf("mount the disk of %s: %w", n.ID, err)
	}
	return n.SetTop("data_dir", n.Data())
}

// unmount takes the disk away. What a person may want of it is copied to dir first, if dir is not "".
func (n *Node) unmount(dir string) error {
	if n.disk == "" {
		return nil
	}
	var err error
	if dir != "" {
		_ = os.Remove(filepath.Join(n.Data(), "admin.sock")) // a socket cannot be copied
		err = os.CopyFS(filepath.Join(dir, n.ID+"-data"), os.DirFS(n.Data()))
	}
	return errors.Join(err, unix.Unmount(n.disk, unix.MNT_DETACH))
}

// Fill makes the node's disk as small as what is on it. No memory is used up for that.
func (n *Node) Fill() error {
	var st unix.Statfs_t
	for range 1000 {
		if err := unix.Statfs(n.disk, &st); err != nil {
			return fmt.Errorf("room on the disk of %s: %w", n.ID, err)
		}
		used := (int64(st.Blocks) - int64(st.Bfree)) * st.Bsize
		err := n.resize(max(used, st.Bsize)) // 0 would be no limit at all
		if err == nil || !errors.Is(err, unix.EINVAL) {
			return err
		}
		// The node wrote meanwhile.
	}
	return fmt.Errorf("the disk of %s fills faster than it can be measured", n.ID)
}

// Free gives the room back.
func (n *Node) Free() error { return n.resize(n.size) }

func (n *Node) resize(sizeBytes int64) error {
	if err := unix.Mount("", n.disk, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", sizeBytes)); err != nil {
		return fmt.Errorf("resize the disk of %s: %w", n.ID, err)
	}
	return nil
}

// Wipe empties the data folder of a node that does not run.
func (n *Node) Wipe() error {
	if n.Running() {
		return fmt.Errorf("wipe %s: %w", n.ID, ErrRunning)
	}
	return os.RemoveAll(n.Data())
}

// Rot flips some bits of the files of a node that does not run and says where.
func (n *Node) Rot(rng *rand.Rand) (string, error) {
	type place struct {
		path string
		size int64
	}
	var files []place
	err := filepath.WalkDir(n.Data(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err == nil && info.Size() > 0 {
			files = append(files, place{path, info.Size()})
		}
		return nil
	})
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("files of %s: %w", n.ID, errors.Join(err, fs.ErrNotExist))
	}
	text := ""
	for range 1 + rng.IntN(3) {
		at := files[rng.IntN(len(files))]
		f, err := os.OpenFile(at.path, os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		off, b := rng.Int64N(at.size), make([]byte, 1)
		_, err = f.ReadAt(b, off)
		b[0] ^= 1 << rng.IntN(8)
		if err == nil {
			_, err = f.WriteAt(b, off)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return "", fmt.Errorf("flip a bit: %w", err)
		}
		name, _ := filepath.Rel(n.disk, at.path)
		text += fmt.Sprintf(" %s@%d", name, off)
	}
	return "bits flipped in" + text, nil
}
