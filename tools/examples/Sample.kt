// Samples, reconstructs and blends faces on Android with a .tflite file of tfvae.
//
// build.gradle.kts:
//     implementation("com.google.ai.edge.litert:litert:1.4.2")
//     android { androidResources { noCompress += "tflite" } }
//
// The file goes to src/main/assets/faces.tflite. Names and shapes of every signature stand in
// faces.model_card.json. An Interpreter is not thread-safe: keep it on one thread, and close it.

import android.content.Context
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter

/** The VAE of a .tflite file. [size] and [channels] are those of its pictures. */
class Vae(
    context: Context,
    asset: String = "faces.tflite",
    private val latentSize: Int = 16,
    private val size: Int = 32,
    private val channels: Int = 3,
) : AutoCloseable {
    private val interpreter: Interpreter

    init {
        val model = context.assets.openFd(asset).use { file ->
            FileInputStream(file.fileDescriptor).channel.use { channel ->
                channel.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
            }
        }
        interpreter = Interpreter(model)
    }

    /** Picture [row] of `vae.sample(n, seed=seed)` in Python: values about 0 to 1, row by row. */
    fun sample(seed: Int, row: Int = 0): FloatArray {
        val picture = floats(size * size * channels)
        val code = floats(latentSize)
        interpreter.runSignature(
            mapOf<String, Any>("seed" to arrayOf(intArrayOf(seed, row))),
            mapOf<String, Any>("x" to picture, "z" to code),
            "sample",
        )
        return picture.read()
    }

    /** The code of a picture, its mean and its standard deviation. */
    fun encode(picture: FloatArray): Pair<FloatArray, FloatArray> {
        val loc = floats(latentSize)
        val scale = floats(latentSize)
        interpreter.runSignature(
            mapOf<String, Any>("x" to floats(picture)),
            mapOf<String, Any>("loc" to loc, "scale" to scale),
            "encode",
        )
        return loc.read() to scale.read()
    }

    /** The picture of a code: blend two codes to go from one face to another. */
    fun decode(code: FloatArray): FloatArray {
        val mean = floats(size * size * channels)
        interpreter.runSignature(
            mapOf<String, Any>("z" to floats(code)),
            mapOf<String, Any>("mean" to mean),
            "decode",
        )
        return mean.read()
    }

    override fun close() = interpreter.close()

    private fun floats(count: Int): ByteBuffer =
        ByteBuffer.allocateDirect(count * Float.SIZE_BYTES).order(ByteOrder.nativeOrder())

    private fun floats(values: FloatArray): ByteBuffer =
        floats(values.size).also { it.asFloatBuffer().put(values) }

    private fun ByteBuffer.read(): FloatArray {
        rewind()
        return FloatArray(capacity() / Float.SIZE_BYTES).also { asFloatBuffer().get(it) }
    }
}
