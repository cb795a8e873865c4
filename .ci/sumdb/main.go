// Verify an export with the packages that verify Go's own checksum database:
//
//	verify-export KEY FOLDER
//
// Every signed checkpoint, every entry through the tiles' hashes, every
// checkpoint's root. It ends with 0 and the numbers, or with 1 and the reason.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

type files struct{ folder string }

func (files) Height() int                        { return 8 }
func (files) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		path := fmt.Sprintf("tile/%d/%s", tile.L, numbered(tile.N, tile.W))
		content, err := os.ReadFile(filepath.Join(f.folder, path))
		if err != nil {
			return nil, err
		}
		data = append(data, content)
	}
	return data, nil
}

func numbered(n int64, w int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if w < width {
		path += fmt.Sprintf(".p/%d", w)
	}
	return path
}

func open(path string, verifier note.Verifier) (tlog.Tree, error) {
	var tree tlog.Tree
	raw, err := os.ReadFile(path)
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("%s is not a checkpoint", path)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, fmt.Errorf("%s has no root", path)
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

func bundle(folder string, n int64, w int) ([][]byte, error) {
	raw, err := os.ReadFile(filepath.Join(folder, "tile/entries", numbered(n, w)))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(raw) >= 2 {
		end := 2 + int(raw[0])<<8 + int(raw[1])
		if end > len(raw) {
			break
		}
		entries = append(entries, raw[2:end])
		raw = raw[end:]
	}
	if len(raw) != 0 || len(entries) != w {
		return nil, fmt.Errorf("bundle %d does not hold %d entries", n, w)
	}
	return entries, nil
}

func verify(key, folder string) (entries, checkpoints int64, err error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return 0, 0, err
	}
	tree, err := open(filepath.Join(folder, "checkpoint"), verifier)
	if err != nil {
		return 0, 0, err
	}
	reader := tlog.TileHashReader(tree, files{folder})
	for first := int64(0); first < tree.N; first += width {
		w := int64(width)
		if tree.N-first < w {
			w = tree.N - first
		}
		bundled, err := bundle(folder, first/width, int(w))
		if err != nil {
			return 0, 0, err
		}
		indexes := make([]int64, w)
		for at := range indexes {
			indexes[at] = tlog.StoredHashIndex(0, first+int64(at))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return 0, 0, err
		}
		for at, entry := range bundled {
			if tlog.RecordHash(entry) != hashes[at] {
				return 0, 0, fmt.Errorf("entry %d is not the one in the tree", first+int64(at))
			}
		}
	}
	published, err := filepath.Glob(filepath.Join(folder, "checkpoints", "*"))
	if err != nil {
		return 0, 0, err
	}
	for _, path := range published {
		one, err := open(path, verifier)
		if err != nil {
			return 0, 0, err
		}
		root, err := tlog.TreeHash(one.N, reader)
		if err != nil {
			return 0, 0, err
		}
		if root != one.Hash {
			return 0, 0, fmt.Errorf("%s is not of this log", path)
		}
	}
	return tree.N, int64(len(published)), nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "verify-export KEY FOLDER")
		os.Exit(2)
	}
	entries, checkpoints, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d entries, %d checkpoints\n", entries, checkpoints)
}
