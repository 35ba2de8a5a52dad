#include "sherd/io/tensor_folder.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

using test::contains;

std::string one_tensor(const std::string& name, const std::string& dtype, std::string_view data) {
  return test::safetensors("{\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" +
                               std::to_string(data.size() / 4) + "],\"data_offsets\":[0," +
                               std::to_string(data.size()) + "]}}",
                           data);
}

std::string refusal(const test::TempFolder& folder) {
  return test::message_of<DataError>([&] { TensorFolder{folder.path()}; });
}

TEST_CASE("A folder with one file gives its tensors by name and part") {
  const test::TempFolder folder;
  folder.write("model.safetensors", one_tensor("w", "F32", "abcdefgh"));
  CHECK(TensorFolder::holds_weights(folder.path()));
  const TensorFolder tensors(folder.path());
  CHECK(tensors.contains("w"));
  CHECK(tensors.at("w").bytes == 8);
  std::array<char, 4> part{};
  tensors.read("w", std::as_writable_bytes(std::span(part)), 2);
  CHECK(std::string(part.data(), 4) == "cdef");
  CHECK_THROWS_AS(tensors.read("w", std::as_writable_bytes(std::span(part)), 5), UsageError);
  CHECK_THROWS_AS((void)tensors.at("v"), DataError);
}

TEST_CASE("A sharded folder gives the tensors its index names, from the right files") {
  const test::TempFolder folder;
  folder.write("m-1.safetensors", one_tensor("a", "F32", "aaaa"));
  folder.write("m-2.safetensors", one_tensor("b", "F32", "bbbbBBBB"));
  folder.write("model.safetensors.index.json",
               R"({"metadata":{"total_size":12},
                   "weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  const TensorFolder tensors(folder.path());
  CHECK(tensors.tensors().size() == 2);
  std::array<char, 4> part{};
  tensors.read("b", std::as_writable_bytes(std::span(part)), 4);
  CHECK(std::string(part.data(), 4) == "BBBB");
}

TEST_CASE("An index that leads out of the folder is refused") {
  for (const char* name : {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "",
                           ".hidden.safetensors", "passwd", "a\\u0000.safetensors"}) {
    const test::TempFolder folder;
    folder.write("model.safetensors.index.json",
                 std::string(R"({"weight_map":{"a":")") + name + R"("}})");
    CHECK(contains(refusal(folder), "plain name"));
  }
}

TEST_CASE("An index that disagrees with its files is refused") {
  const test::TempFolder folder;
  folder.write("m.safetensors", one_tensor("a", "F32", "aaaa"));
  folder.write("model.safetensors.index.json", R"({"weight_map":{"b":"m.safetensors"}})");
  CHECK(contains(refusal(folder), "lacks tensor 'b'"));
  folder.write("model.safetensors.index.json", R"({"weight_map":{"b":"gone.safetensors"}})");
  CHECK(contains(refusal(folder), "gone.safetensors"));
  folder.write("model.safetensors.index.json", R"({"weight_map":["m.safetensors"]})");
  CHECK(contains(refusal(folder), "weight_map"));
  folder.write("model.safetensors.index.json",
               R"({"weight_map":{"a":"m.safetensors","a":"m.safetensors"}})");
  CHECK(contains(refusal(folder), "twice"));
}

TEST_CASE("A folder without weights says which names it looked for") {
  const test::TempFolder folder;
  CHECK_FALSE(TensorFolder::holds_weights(folder.path()));
  CHECK(contains(refusal(folder), "model.safetensors.index.json"));
}

TEST_CASE("A tensor of a type sherd cannot load is refused when it is wanted") {
  const test::TempFolder folder;
  folder.write("model.safetensors", one_tensor("ids", "I32", "aaaa"));
  const TensorFolder tensors(folder.path());
  const std::string message = test::message_of<DataError>([&] { (void)tensors.at("ids"); });
  CHECK(contains(message, "tensor 'ids': has dtype I32"));
}

}  // namespace
}  // namespace sherd::io
