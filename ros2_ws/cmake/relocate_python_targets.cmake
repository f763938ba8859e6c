# The ROS 2 wheels carry the Python include folders of the machine that built them. This file, included
# right after project(), points those targets at the Python and NumPy in use. Without wheels it does nothing.
function(_finevla_relocate_python_targets)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  set(here "")
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders MATCHES "/opt/python/")
      continue()
    endif()
    if(NOT here)
      execute_process(
        COMMAND "${Python3_EXECUTABLE}" -c
          "import sysconfig, numpy; print(sysconfig.get_path('include') + ';' + numpy.get_include(), end='')"
        OUTPUT_VARIABLE here COMMAND_ERROR_IS_FATAL ANY)
    endif()
    list(FILTER folders EXCLUDE REGEX "^/opt/python/")
    list(APPEND folders ${here})
    list(REMOVE_DUPLICATES folders)
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
  endforeach()
endfunction()
# Deferred, so that it runs after every find_package.
cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL _finevla_relocate_python_targets)
