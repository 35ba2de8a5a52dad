# One interface target for warnings and the language rules every module shares.
add_library(sherd_rules INTERFACE)
target_compile_options(sherd_rules INTERFACE
  -Wall -Wextra -Wconversion -Wsign-conversion
  # Of files in one piece, two remarks are about their neighbours.
  $<IF:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>,$<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>,-Wshadow>
  $<$<AND:$<BOOL:${SHERD_WERROR}>,$<OR:$<BOOL:$<TARGET_PROPERTY:SHERD_NOT_CHECKED>>,$<NOT:$<BOOL:${SHERD_SANITIZE}>>>>:-Werror>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # g++ 12 warns about its own std::string (PR 105651)
  -ffp-contract=off)  # CPU and CUDA agree bit for bit only when every fma is written as one
target_include_directories(sherd_rules INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/src>)

# SIMD targets that are not built: those without fma would give other bits, and a sanitizer's build
# has no time for AVX-512.
set(SHERD_HWY_DISABLED "HWY_SSSE3|HWY_SSE4")
set(SHERD_WHOLE_DEFAULT OFF)
if(SHERD_SANITIZE)
  set(SHERD_WHOLE_DEFAULT ON)
  string(APPEND SHERD_HWY_DISABLED "|HWY_AVX3")
endif()

# Most of a file's time goes to the headers it shares with its neighbours: a whole build is twice as fast where
# modules are compiled in one piece. A change then costs its module, so who changes things leaves it off.
option(SHERD_WHOLE "Compile modules in one piece" ${SHERD_WHOLE_DEFAULT})
set(SHERD_WHOLE_MODULES bench checkpoint cli comm data engine io launch model optim plan)
set(SHERD_PLAIN_MODULES bench cli)  # which a sanitizer's build does not optimise

# sherd_in_one_piece(target [files that stand apart]): names in anonymous namespaces must not clash in the others.
function(sherd_in_one_piece target)
  if(SHERD_WHOLE)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
    set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
endfunction()

# sherd_module(name NEEDS lower modules and libraries SOURCES files APART those that are compiled alone)
function(sherd_module name)
  cmake_parse_arguments(arg "" "" "NEEDS;PRIVATE;SOURCES;APART" ${ARGN})
  add_library(sherd_${name} STATIC ${arg_SOURCES} ${arg_APART})
  add_library(sherd::${name} ALIAS sherd_${name})
  target_link_libraries(sherd_${name} PUBLIC ${arg_NEEDS} PRIVATE ${arg_PRIVATE} $<BUILD_INTERFACE:sherd_rules>)
  target_include_directories(sherd_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  set_target_properties(sherd_${name} PROPERTIES EXPORT_NAME ${name})
  if(name IN_LIST SHERD_WHOLE_MODULES)
    sherd_in_one_piece(sherd_${name} ${arg_APART})
  endif()
  if(SHERD_SANITIZE AND name IN_LIST SHERD_PLAIN_MODULES)
    target_compile_options(sherd_${name} PRIVATE -O0)
  endif()
  set_property(GLOBAL APPEND PROPERTY SHERD_MODULES sherd_${name})
endfunction()
