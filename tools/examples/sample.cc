// Samples a picture from a .tflite file of tfvae and writes it as PPM (colour) or PGM (grey).
//
//     g++ -std=c++17 sample.cc -L LITERT -lLiteRt -Wl,-rpath,LITERT -o sample
//     ./sample faces.tflite 7 0 > face.ppm
//
// The two numbers are the seed of the row: picture 0 of `vae.sample(n, seed=7)` in Python.
//
// LITERT is the folder of libLiteRt.so. The Python package ai-edge-litert carries that library
// without its headers, so the few functions of LiteRT's C API that are used are declared here; with
// the headers at hand, include "litert/c/litert_compiled_model.h" and its neighbours instead.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern "C" {
using Handle = void*;
int LiteRtCreateEnvironment(int num_options, const void* options, Handle* environment);
int LiteRtCreateModelFromFile(Handle environment, const char* path, Handle* model);
int LiteRtCreateOptions(Handle* options);
int LiteRtSetOptionsHardwareAccelerators(Handle options, int accelerators);
int LiteRtCreateCompiledModel(Handle environment, Handle model, Handle options, Handle* compiled);
int LiteRtGetNumModelSignatures(Handle model, size_t* count);
int LiteRtGetModelSignature(Handle model, size_t index, Handle* signature);
int LiteRtGetSignatureKey(Handle signature, const char** key);
int LiteRtGetNumSignatureOutputs(Handle signature, size_t* count);
int LiteRtGetSignatureOutputName(Handle signature, size_t index, const char** name);
int LiteRtGetSignatureInputTensorByIndex(Handle signature, size_t index, Handle* tensor);
int LiteRtGetSignatureOutputTensorByIndex(Handle signature, size_t index, Handle* tensor);
int LiteRtGetRankedTensorType(Handle tensor, void* type);
int LiteRtGetCompiledModelInputBufferRequirements(Handle compiled, size_t signature, size_t index,
                                                  Handle* requirements);
int LiteRtGetCompiledModelOutputBufferRequirements(Handle compiled, size_t signature, size_t index,
                                                   Handle* requirements);
int LiteRtCreateManagedTensorBufferFromRequirements(Handle environment, const void* type,
                                                    Handle requirements, Handle* buffer);
int LiteRtGetTensorBufferPackedSize(Handle buffer, size_t* size);
int LiteRtLockTensorBuffer(Handle buffer, void** address, int mode);
int LiteRtUnlockTensorBuffer(Handle buffer);
int LiteRtRunCompiledModel(Handle compiled, size_t signature, size_t num_inputs, Handle* inputs,
                           size_t num_outputs, Handle* outputs);
}

constexpr int kCpu = 1;
constexpr int kRead = 0, kWrite = 1;

// The type of a tensor: passed on, never looked into, and larger than any release makes it.
struct alignas(16) TensorType {
  char content[512];
};

static void Check(int status, const char* what) {
  if (status != 0) {
    std::fprintf(stderr, "%s failed with LiteRT status %d\n", what, status);
    std::exit(1);
  }
}

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s FILE.tflite SEED ROW > picture.ppm\n", argv[0]);
    return 2;
  }
  const int32_t seed[2] = {static_cast<int32_t>(std::strtoll(argv[2], nullptr, 10)),
                           static_cast<int32_t>(std::strtoll(argv[3], nullptr, 10))};

  Handle environment, model, options, compiled;
  Check(LiteRtCreateEnvironment(0, nullptr, &environment), "creating the environment");
  Check(LiteRtCreateModelFromFile(environment, argv[1], &model), "reading the file");
  Check(LiteRtCreateOptions(&options), "creating the options");
  Check(LiteRtSetOptionsHardwareAccelerators(options, kCpu), "choosing the processor");
  Check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "preparing the model");

  size_t count = 0, index = 0;
  Handle signature = nullptr;
  Check(LiteRtGetNumModelSignatures(model, &count), "counting the signatures");
  for (; index < count; ++index) {
    const char* key;
    Check(LiteRtGetModelSignature(model, index, &signature), "reading a signature");
    Check(LiteRtGetSignatureKey(signature, &key), "reading a signature's name");
    if (std::strcmp(key, "sample") == 0) break;
  }
  if (index == count) {
    std::fprintf(stderr, "the file has no signature `sample`\n");
    return 1;
  }

  const auto make_buffer = [&](bool is_input, size_t place) {
    Handle tensor, requirements, buffer;
    TensorType type = {};
    Check((is_input ? LiteRtGetSignatureInputTensorByIndex
                    : LiteRtGetSignatureOutputTensorByIndex)(signature, place, &tensor),
          "finding a tensor");
    Check(LiteRtGetRankedTensorType(tensor, &type), "reading a tensor's type");
    Check((is_input ? LiteRtGetCompiledModelInputBufferRequirements
                    : LiteRtGetCompiledModelOutputBufferRequirements)(compiled, index, place,
                                                                      &requirements),
          "asking for a buffer's size");
    Check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffer),
          "making a buffer");
    return buffer;
  };

  Handle input = make_buffer(true, 0);
  void* address;
  Check(LiteRtLockTensorBuffer(input, &address, kWrite), "opening the input");
  std::memcpy(address, seed, sizeof seed);
  Check(LiteRtUnlockTensorBuffer(input), "closing the input");

  size_t num_outputs = 0, picture = 0;
  Check(LiteRtGetNumSignatureOutputs(signature, &num_outputs), "counting the outputs");
  std::vector<Handle> outputs;
  for (size_t place = 0; place < num_outputs; ++place) {
    const char* name;
    Check(LiteRtGetSignatureOutputName(signature, place, &name), "reading an output's name");
    if (std::strcmp(name, "x") == 0) picture = place;
    outputs.push_back(make_buffer(false, place));
  }
  Check(LiteRtRunCompiledModel(compiled, index, 1, &input, outputs.size(), outputs.data()),
        "running the model");

  size_t bytes;
  Check(LiteRtGetTensorBufferPackedSize(outputs[picture], &bytes), "reading the picture's size");
  Check(LiteRtLockTensorBuffer(outputs[picture], &address, kRead), "opening the picture");
  const float* values = static_cast<const float*>(address);
  const size_t size = bytes / sizeof(float);
  // Square pictures: three channels if that makes a square, else one.
  const bool colour = size % 3 == 0 && std::pow(std::lround(std::sqrt(size / 3)), 2) == size / 3;
  const size_t side = std::lround(std::sqrt(colour ? size / 3 : size));
  std::printf("%s\n%zu %zu\n255\n", colour ? "P6" : "P5", side, side);
  for (size_t i = 0; i < size; ++i) {
    const float clipped = std::fmin(std::fmax(values[i], 0.0f), 1.0f);
    std::putchar(static_cast<int>(std::lround(255 * clipped)));
  }
  return 0;
}
