// Weights as Hugging Face folders: what transformers wrote comes back byte for byte.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/folder.hpp"
#include "sherd/io/tensor_folder.hpp"
#include "sherd/model/hugging_face.hpp"

using namespace sherd;
using sherd::test::TempFolder;
namespace fs = std::filesystem;

namespace {

constexpr const char* fixtures[] = {"gpt2_parity", "llama_parity", "llama_tied_parity",
                                    "qwen2_parity", "qwen3_parity"};

std::string fixture(const std::string& name) { return std::string(SHERD_FIXTURES) + "/" + name; }

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

checkpoint::Checkpoint imported(const std::string& from, const std::string& to) {
  return {io::storage(), checkpoint::import_folder(io::storage(), from, to, "test")};
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("an export is the file that transformers wrote of the same weights") {
  const TempFolder folder;
  for (const std::string name : fixtures) {
    CAPTURE(name);
    const auto from = imported(fixture(name), folder.path() + "/" + name);
    CHECK(from.verify().empty());
    const std::string out = folder.path() + "/out-" + name;
    checkpoint::export_folder(from, out);
    CHECK(names_in(out) == std::vector<std::string>{"config.json", "model.safetensors"});
    const std::string ours = text_of(out + "/model.safetensors");
    const std::string theirs = text_of(fixture(name) + "/model.safetensors");
    CHECK(ours.size() == theirs.size());
    CHECK(ours == theirs);
    CHECK(model::read_config(out) == model::read_config(fixture(name)));
  }
}

TEST_CASE("export, import and export again give the same bytes, in several files too") {
  const TempFolder folder;
  for (const std::string name : fixtures) {
    for (const Bytes file_bytes : {Bytes{40'000}, Bytes{5'000'000'000}}) {
      CAPTURE(name);
      const std::string at = folder.path() + "/" + name + std::to_string(file_bytes);
      const checkpoint::ExportOptions options{DType::f32, file_bytes};
      checkpoint::export_folder(imported(fixture(name), at + "a"), at + "1", options);
      checkpoint::export_folder(imported(at + "1", at + "b"), at + "2", options);
      const std::vector<std::string> names = names_in(at + "1");
      CHECK(names.size() == (file_bytes < 50'000 ? names.size() : 2));
      if (file_bytes < 50'000) CHECK(names.size() > 4);
      CHECK(names == names_in(at + "2"));
      for (const std::string& one : names)
        CHECK(text_of(at + "1/" + one) == text_of(at + "2/" + one));
    }
  }
}

TEST_CASE("an index names every tensor's file and their bytes together") {
  const TempFolder folder;
  const std::string out = folder.path() + "/out";
  checkpoint::export_folder(imported(fixture("llama_parity"), folder.path() + "/in"), out,
                            {DType::f32, 40'000});
  const auto index = nlohmann::json::parse(text_of(out + "/model.safetensors.index.json"));
  const io::TensorFolder whole(fixture("llama_parity")), parts(out);
  Bytes bytes = 0;
  for (const auto& [name, tensor] : whole.tensors()) {
    CHECK(parts.at(name).shape == tensor.entry.shape);
    CHECK(index.at("weight_map").contains(name));
    bytes += tensor.entry.bytes;
  }
  CHECK(index.at("weight_map").size() == whole.tensors().size());
  CHECK(index.at("metadata").at("total_size") == bytes);
}

TEST_CASE("16-bit exports are the weights rounded to nearest even") {
  const TempFolder folder;
  const auto from = imported(fixture("qwen3_parity"), folder.path() + "/in");
  const io::TensorFolder exact(fixture("qwen3_parity"));
  for (const DType type : {DType::bf16, DType::f16}) {
    const std::string out = folder.path() + "/" + std::string(name_of(type));
    checkpoint::export_folder(from, out, {type, gib});
    const io::TensorFolder halves(out);
    for (const auto& [name, tensor] : exact.tensors()) {
      CHECK(halves.at(name).type == type);
      std::vector<float> values(tensor.entry.bytes / 4);
      std::vector<std::uint16_t> stored(values.size());
      exact.read(name, std::as_writable_bytes(std::span(values)));
      halves.read(name, std::as_writable_bytes(std::span(stored)));
      bool same = true;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t want =
            type == DType::bf16 ? to_bfloat16(values[i]).bits : to_float16(values[i]).bits;
        same &= stored[i] == want;
      }
      CHECK(same);
    }
    CHECK(nlohmann::json::parse(text_of(out + "/config.json"))
              .dump()
              .find(type == DType::bf16 ? "bfloat16" : "float16") != std::string::npos);
  }
}

TEST_CASE("what a killed export left is removed by the next one, a living one's is not") {
  const TempFolder folder;
  const auto from = imported(fixture("gpt2_parity"), folder.path() + "/in");
  const pid_t child = fork();
  if (child == 0) _exit(0);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  const auto beside = [&](const std::string& name) {
    return folder.path() + "/." + name + ".partial";
  };
  const std::string dead = beside("out." + std::to_string(child)),
                    alive = beside("out." + std::to_string(getppid())),
                    own = beside("out." + std::to_string(getpid())),
                    other = beside("others." + std::to_string(child));
  for (const std::string& path : {dead, alive, own, other}) {
    fs::create_directory(path);
    std::ofstream(path + "/model.safetensors") << "half";
  }
  (void)checkpoint::export_folder(from, folder.path() + "/out");
  CHECK_FALSE(fs::exists(dead));
  CHECK_FALSE(fs::exists(own));
  CHECK(fs::exists(alive + "/model.safetensors"));
  CHECK(fs::exists(other + "/model.safetensors"));
}

TEST_CASE("folders that are there already are left as they are, and nothing half-made stays") {
  const TempFolder folder;
  const auto from = imported(fixture("gpt2_parity"), folder.path() + "/in");
  fs::create_directory(folder.path() + "/out");
  CHECK_THROWS_AS(checkpoint::export_folder(from, folder.path() + "/out"), ConfigError);
  CHECK_THROWS_AS(checkpoint::export_folder(from, folder.path() + "/no/where"), ConfigError);
  CHECK_THROWS_AS((void)checkpoint::import_folder(io::storage(), fixture("llama_parity"),
                                                  folder.path() + "/in", "test"),
                  ConfigError);
  CHECK_THROWS_AS((void)checkpoint::import_folder(io::storage(), folder.path() + "/out",
                                                  folder.path() + "/new", "test"),
                  DataError);
  CHECK(names_in(folder.path() + "/out").empty());
  for (const std::string& name : names_in(folder.path())) CHECK(name.front() != '.');
}
