#pragma once
// A Hugging Face folder made for one test and removed after it.
#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace sherd::test {

class ModelFolder {
 public:
  ModelFolder() {
    std::random_device random;
    path_ = std::filesystem::temp_directory_path() /
            ("sherd-model-" + std::to_string(random()) + std::to_string(random()));
    std::filesystem::create_directory(path_);
  }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;
  ~ModelFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string path() const { return path_.string(); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }

 private:
  std::filesystem::path path_;
};

struct FileTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<float> values;
  bool bf16 = false;  // else F32
};

/// A safetensors file. Source: github.com/huggingface/safetensors, "Format".
[[nodiscard]] inline std::string safetensors(const std::vector<FileTensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const FileTensor& tensor : tensors) {
    const std::size_t first = data.size();
    for (const float value : tensor.values) {
      const auto bits = std::bit_cast<std::uint32_t>(value) >> (tensor.bf16 ? 16 : 0);
      data.append(reinterpret_cast<const char*>(&bits), tensor.bf16 ? 2 : 4);
    }
    header[tensor.name] = {{"dtype", tensor.bf16 ? "BF16" : "F32"},
                           {"shape", tensor.shape},
                           {"data_offsets", {first, data.size()}}};
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data;
}

}  // namespace sherd::test
