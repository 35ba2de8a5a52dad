#include "sherd/io/npy.hpp"

#include <doctest/doctest.h>

#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::io {
namespace {

using test::npy;

std::string refusal(const std::string& content) {
  const test::TempFolder folder;
  const std::string path = folder.write("bad.npy", content);
  const std::string message =
      test::message_of<DataError>([&] { (void)read_npy_header(File(path)); });
  CHECK(test::contains(message, "bad.npy: "));
  CHECK(test::contains(message, " at byte "));
  return message;
}

NpyHeader header_of(const std::string& content) {
  const test::TempFolder folder;
  return read_npy_header(File(folder.write("good.npy", content)));
}

TEST_CASE("A file numpy wrote is understood") {
  const File file(std::string(SHERD_FIXTURES) + "/gpt2_parity/tokens.npy");
  const NpyHeader header = read_npy_header(file);
  CHECK(header.type == DType::u16);
  CHECK(header.dimensions == 1);
  CHECK(header.rows == 65);
  CHECK(header.cols == 1);
  CHECK(header.data_offset == 128);
}

TEST_CASE("Each element type and both ranks are understood") {
  const std::pair<const char*, DType> types[] = {
      {"|u1", DType::u8},  {"<u2", DType::u16}, {"<u4", DType::u32}, {"<i4", DType::i32},
      {"<i8", DType::i64}, {"<f4", DType::f32}, {"<f8", DType::f64}};
  for (const auto& [descr, type] : types) {
    const std::string data(6 * size_of(type), 'x');
    CHECK(header_of(test::npy_1d(descr, 6, data)).type == type);
    const NpyHeader two = header_of(npy(
        "{\"shape\":(2, 3),'fortran_order': False,'descr':'" + std::string(descr) + "'}", data));
    CHECK(two.dimensions == 2);
    CHECK(two.rows == 2);
    CHECK(two.cols == 3);
  }
  CHECK(header_of(test::npy_1d("<u2", 0, "")).rows == 0);
}

TEST_CASE("Versions 2 and 3 have a header length of four bytes") {
  for (const char version : {'\x02', '\x03'}) {
    const std::string dict = "{'descr': '<u2', 'fortran_order': False, 'shape': (1,)}\n";
    const auto size = static_cast<std::uint32_t>(dict.size());
    const std::string content =
        std::string("\x93NUMPY") + version + '\0' + test::bytes_of(std::vector{size}) + dict + "ab";
    CHECK(header_of(content).data_offset == 12 + dict.size());
    CHECK(header_of(content).rows == 1);
  }
}

TEST_CASE("Arrays sherd cannot read are refused with what they are") {
  const auto of = [](const char* descr, const char* order, const char* shape) {
    return npy(std::string("{'descr': ") + descr + ", 'fortran_order': " + order +
                   ", 'shape': " + shape + ", }",
               "abcd");
  };
  using test::contains;
  CHECK(contains(refusal(of("'<u2'", "True", "(2,)")), "Fortran"));
  CHECK(contains(refusal(of("'|O'", "False", "(2,)")), "'|O'"));
  CHECK(contains(refusal(of("'>u2'", "False", "(2,)")), "'>u2'"));
  CHECK(contains(refusal(of("[('a', '<u2')]", "False", "(2,)")), "structured"));
  CHECK(contains(refusal(of("'<u2'", "False", "()")), "single number"));
  CHECK(contains(refusal(of("'<u2'", "False", "(1, 1, 2)")), "two dimensions"));
  CHECK(contains(refusal(of("'<u2'", "Maybe", "(2,)")), "fortran_order"));
}

TEST_CASE("Shapes that disagree with the file or overflow are refused") {
  using test::contains;
  const auto of = [](const char* shape) {
    return npy(std::string("{'descr': '<u2', 'fortran_order': False, 'shape': ") + shape + "}",
               "abcd");
  };
  CHECK(contains(refusal(of("(3,)")), "need (by its shape) 6"));
  CHECK(contains(refusal(of("(1,)")), "need (by its shape) 2"));
  CHECK(contains(refusal(of("(-2,)")), "number"));
  CHECK(contains(refusal(of("(99999999999999999999,)")), "64 bits"));
  CHECK(contains(refusal(of("(9223372036854775810,)")), "64 bits"));
  CHECK(contains(refusal(of("(4294967296, 4294967297)")), "64 bits"));
}

TEST_CASE("Headers that are damaged are refused") {
  using test::contains;
  const std::string good = test::npy_1d("<u2", 2, "abcd");
  CHECK(contains(refusal(""), "too short"));
  CHECK(contains(refusal("\x93NUMPX" + good.substr(6)), "magic"));
  CHECK(contains(refusal(good.substr(0, 6) + "\x04" + good.substr(7)), "version 4.0"));
  CHECK(contains(refusal(good.substr(0, 8) + "\xff\xff" + good.substr(10)), "header of 65535"));
  for (std::size_t size = 0; size < good.size(); ++size) (void)refusal(good.substr(0, size));
  CHECK(contains(refusal(npy("{'descr': '<u2'}", "")), "lacks one"));
  CHECK(contains(refusal(npy("{'descr': '<u2', 'descr': '<u4'}", "")), "twice"));
  CHECK(contains(refusal(npy("{'evil': 1}", "")), "unknown header key"));
  CHECK(contains(refusal(npy("{'descr: 1}", "")), "quote"));
  CHECK(contains(refusal(npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2,)} {", "")),
                 "more than one"));
}

TEST_CASE("A header length of 4 GiB is refused before anything is allocated") {
  const std::string content = std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12) + "{}";
  CHECK(test::contains(refusal(content), "header of 4294967295 bytes"));
}

}  // namespace
}  // namespace sherd::io
