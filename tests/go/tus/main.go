// Uploads a file with go-tus as it is: tus ENDPOINT FILE; prints where the upload is.
package main

import (
	"fmt"
	"os"

	"github.com/eventials/go-tus"
)

func main() {
	url, err := upload(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(url)
}

func upload(endpoint, path string) (string, error) {
	client, err := tus.NewClient(endpoint, nil)
	if err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	upload, err := tus.NewUploadFromFile(file)
	if err != nil {
		return "", err
	}
	uploader, err := client.CreateUpload(upload)
	if err != nil {
		return "", err
	}
	return uploader.Url(), uploader.Upload()
}
