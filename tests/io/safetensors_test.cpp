#include "sherd/io/safetensors.hpp"

#include <doctest/doctest.h>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

using test::contains;
using test::safetensors;

std::string refusal(const std::string& content) {
  const test::TempFolder folder;
  const std::string path = folder.write("bad.safetensors", content);
  const std::string message =
      test::message_of<DataError>([&] { (void)read_safetensors_index(File(path)); });
  CHECK(contains(message, "bad.safetensors: "));
  return message;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  std::string text = "\"";
  text += name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape;
  return text + ",\"data_offsets\":" + offsets + "}";
}

TEST_CASE("A file the safetensors library wrote is understood") {
  const File file(std::string(SHERD_FIXTURES) + "/gpt2_parity/model.safetensors");
  const TensorIndex index = read_safetensors_index(file);
  CHECK(index.size() == 28);
  const TensorEntry& weights = index.at("transformer.h.1.mlp.c_fc.weight");
  CHECK(weights.shape == std::vector<std::uint64_t>{48, 192});
  CHECK(weights.type == DType::f32);
  CHECK(weights.bytes == 48 * 192 * 4);
  Bytes all = 0;
  for (const auto& [name, tensor] : index) all += tensor.bytes;
  CHECK(all == 60480 * 4);
}

TEST_CASE("Types, metadata, padding, scalars and empty tensors are understood") {
  const test::TempFolder folder;
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + entry("h", "F16", "[3]", "[4,10]") + "," +
      entry("b", "BF16", "[2,1]", "[0,4]") + "," + entry("none", "F32", "[0,7]", "[4,4]") + "," +
      entry("one", "F32", "[]", "[10,14]") + "," + entry("mask", "BOOL", "[2]", "[14,16]") + "}   ";
  const File file(folder.write("a", safetensors(header, std::string(16, 'x'))));
  const TensorIndex index = read_safetensors_index(file);
  CHECK(index.size() == 5);
  CHECK(index.at("b").offset == 8 + header.size());
  CHECK(index.at("h").type == DType::f16);
  CHECK(index.at("h").bytes == 6);
  CHECK(index.at("none").bytes == 0);
  CHECK(index.at("one").shape.empty());
  CHECK_FALSE(index.at("mask").type.has_value());
  CHECK(index.at("mask").dtype == "BOOL");
}

TEST_CASE("A header length beyond the file or the limit is refused before it is allocated") {
  const auto of = [](std::uint64_t length) { return test::bytes_of(std::vector{length}) + "{}"; };
  CHECK(contains(refusal(of(3)), "header of 3 bytes"));
  CHECK(contains(refusal(of(~std::uint64_t{0})), "header of 18446744073709551615 bytes"));
  CHECK(contains(refusal(of(std::uint64_t{1} << 63)), "need at most 2"));
  CHECK(contains(refusal("short"), "needs 8 bytes"));

  const test::TempFolder folder;
  const std::string path = folder.write("sparse", of(101 * mib));
  std::filesystem::resize_file(path, 200 * mib);
  CHECK(contains(test::message_of<DataError>([&] { (void)read_safetensors_index(File(path)); }),
                 "need at most 104857600"));
}

TEST_CASE("Tensors that overlap, leave a gap or do not fill the file are refused") {
  const auto two = [](const char* first, const char* second, std::size_t bytes) {
    return refusal(safetensors(
        '{' + entry("a", "F32", "[1]", first) + "," + entry("b", "F32", "[1]", second) + "}",
        std::string(bytes, 'x')));
  };
  CHECK(contains(two("[0,4]", "[2,6]", 8), "tensor 'b': overlaps"));
  CHECK(contains(two("[0,4]", "[0,4]", 4), "overlaps"));
  CHECK(contains(two("[0,4]", "[5,9]", 9), "tensor 'b': leaves a gap"));
  CHECK(contains(two("[4,8]", "[8,12]", 12), "tensor 'a': leaves a gap"));
  CHECK(contains(two("[0,4]", "[4,8]", 9), "belong to no tensor"));
  CHECK(contains(two("[0,4]", "[4,8]", 7), "need an order and at most 7"));
  CHECK(contains(refusal(safetensors("{}", "x")), "belong to no tensor"));
}

TEST_CASE("Offsets and shapes that lie are refused by tensor name") {
  const auto one = [](const char* dtype, const char* shape, const char* offsets) {
    const std::string message =
        refusal(safetensors('{' + entry("w", dtype, shape, offsets) + "}", "xxxxxxxx"));
    CHECK(contains(message, "tensor 'w'"));
    return message;
  };
  CHECK(contains(one("F32", "[2]", "[8,0]"), "need an order"));
  CHECK(contains(one("F32", "[3]", "[0,8]"), "need (by its shape) 12"));
  CHECK(contains(one("F32", "[4294967296,4294967296]", "[0,8]"), "64 bits"));
  CHECK(contains(one("F32", "[4611686018427387904]", "[0,0]"), "64 bits"));
  CHECK(contains(one("F32", "[-2]", "[0,8]"), "whole numbers"));
  CHECK(contains(one("F32", "[2.0]", "[0,8]"), "whole numbers"));
  CHECK(contains(one("F32", "[99999999999999999999]", "[0,8]"), "whole numbers"));
  CHECK(contains(one("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "at most 8"));
  CHECK(contains(one("F32", "2", "[0,8]"), "no list"));
  CHECK(contains(one("F32", "[2]", "[0]"), "two data_offsets"));
  CHECK(contains(one("F32", "[2]", "[0,18446744073709551615]"), "need an order"));
  CHECK(contains(one("F31", "[2]", "[0,8]"), "unknown dtype 'F31'"));
}

TEST_CASE("Headers of another form are refused") {
  const auto header = [](const std::string& text) { return refusal(safetensors(text, "")); };
  CHECK(contains(header("[]"), "'{'"));
  CHECK(contains(header(" {}"), "'{'"));
  CHECK(contains(header("{\"w\""), "valid JSON"));
  CHECK(contains(header("{\"w\":1}"), "needs exactly"));
  CHECK(contains(header("{\"w\":{\"dtype\":\"F32\",\"shape\":[0]}}"), "needs exactly"));
  CHECK(
      contains(header("{\"w\":{\"dtype\":4,\"shape\":[0],\"data_offsets\":[0,0]}}"), "no string"));
  CHECK(contains(header("{\"__metadata__\":{\"a\":1}}"), "no string"));
  CHECK(contains(header("{\"__metadata__\":[]}"), "no JSON object"));
  const std::string twice = entry("w", "F32", "[0]", "[0,0]");
  CHECK(contains(header('{' + twice + "," + twice + "}"), "'w' twice"));
  CHECK(contains(header("{\"w\":" + std::string(100000, '[')), "nested deeper"));
}

TEST_CASE("Every truncation of a good file is refused") {
  const std::string good =
      safetensors('{' + entry("w", "F32", "[2]", "[0,8]") + "}", std::string(8, 'x'));
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(refusal(good.substr(0, size)).empty());
  }
}

}  // namespace
}  // namespace sherd::io
