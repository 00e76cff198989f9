import io.tus.java.client.TusClient;
import io.tus.java.client.TusExecutor;
import io.tus.java.client.TusUpload;
import io.tus.java.client.TusUploader;
import java.io.File;
import java.net.URI;

/** Uploads a file with tus-java-client as it is, by the loop of its page: ENDPOINT FILE; prints where the upload is. */
public final class Tus {
  private Tus() {}

  public static void main(String[] arguments) throws Exception {
    TusClient client = new TusClient();
    client.setUploadCreationURL(URI.create(arguments[0]).toURL());
    TusUpload upload = new TusUpload(new File(arguments[1]));
    TusExecutor executor =
        new TusExecutor() {
          @Override
          protected void makeAttempt() throws io.tus.java.client.ProtocolException, java.io.IOException {
            TusUploader uploader = client.resumeOrCreateUpload(upload);
            uploader.setChunkSize(1 << 20);
            while (uploader.uploadChunk() > -1) {}
            uploader.finish();
            System.out.println(uploader.getUploadURL());
          }
        };
    if (!executor.makeAttempts()) {
      throw new IllegalStateException("interrupted");
    }
  }
}
