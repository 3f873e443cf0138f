// Samples, reconstructs and blends faces on iOS with a .tflite file of tfvae.
//
// Podfile:
//     pod 'TensorFlowLiteSwift', '~> 2.17'
//
// Names and shapes of every signature stand in faces.model_card.json. Neither the interpreter nor
// its signature runners are thread-safe: keep them on one queue.

import Foundation
import TensorFlowLite

/// The VAE of a .tflite file.
final class Vae {
  private let interpreter: Interpreter
  private let sampler: SignatureRunner
  private let encoder: SignatureRunner
  private let decoder: SignatureRunner

  init(path: String) throws {
    interpreter = try Interpreter(modelPath: path)
    sampler = try interpreter.signatureRunner(with: "sample")
    encoder = try interpreter.signatureRunner(with: "encode")
    decoder = try interpreter.signatureRunner(with: "decode")
  }

  /// Picture `row` of `vae.sample(n, seed=seed)` in Python: values about 0 to 1, row by row.
  func sample(seed: Int32, row: Int32 = 0) throws -> [Float] {
    try sampler.invoke(with: ["seed": data([seed, row])])
    return floats(try sampler.output(named: "x"))
  }

  /// The code of a picture, its mean and its standard deviation.
  func encode(_ picture: [Float]) throws -> (loc: [Float], scale: [Float]) {
    try encoder.invoke(with: ["x": data(picture)])
    return (floats(try encoder.output(named: "loc")), floats(try encoder.output(named: "scale")))
  }

  /// The picture of a code: blend two codes to go from one face to another.
  func decode(_ code: [Float]) throws -> [Float] {
    try decoder.invoke(with: ["z": data(code)])
    return floats(try decoder.output(named: "mean"))
  }

  private func data<T>(_ values: [T]) -> Data {
    values.withUnsafeBufferPointer { Data(buffer: $0) }
  }

  private func floats(_ tensor: Tensor) -> [Float] {
    tensor.data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
  }
}
